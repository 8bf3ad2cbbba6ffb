# SPDX-License-Identifier: Apache-2.0
# Files for web servers are installed as examples to copy (doc/operations.md): what is in /etc
# belongs to the admin.
nginxdir = $(pkgdatadir)/nginx
dist_nginx_DATA = \
	deploy/nginx/tt-agent-upstream.conf \
	deploy/nginx/tt-agent-fastcgi.conf \
	deploy/nginx/tt-agent-hosts-upstream.conf \
	deploy/nginx/tt-agent-hosts.conf \
	deploy/nginx/tt-agent-locations.conf \
	deploy/nginx/tt-agent-root.conf
apachedir = $(pkgdatadir)/apache
dist_apache_DATA = \
	deploy/apache/tt-agent-fastcgi.conf \
	deploy/apache/tt-agent-root.conf \
	deploy/apache/tt-agent.conf
lighttpddir = $(pkgdatadir)/lighttpd
dist_lighttpd_DATA = \
	deploy/lighttpd/50-tt-agent.conf \
	deploy/lighttpd/50-tt-agent-root.conf \
	deploy/lighttpd/tt-agent-fastcgi.conf

# For Prometheus and Grafana.
prometheusdir = $(pkgdatadir)/prometheus
dist_prometheus_DATA = \
	deploy/prometheus/scrape.yml \
	deploy/prometheus/tt-agent.rules.test.yml \
	deploy/prometheus/tt-agent.rules.yml
grafanadir = $(pkgdatadir)/grafana
dist_grafana_DATA = deploy/grafana/tt-agent.json

# systemd, sysusers and tmpfiles look below /usr/lib and below /usr/local/lib.
systemdunitdir = $(prefix)/lib/systemd/system
dist_systemdunit_DATA = \
	deploy/systemd/tt-agent-fcgi.socket \
	deploy/systemd/tt-agent-runner.socket \
	deploy/systemd/tt-agent-user-config@.path \
	deploy/systemd/tt-agent-user-config@.service
nodist_systemdunit_DATA = \
	deploy/systemd/tt-agentd.service \
	deploy/systemd/tt-agent-fcgi.service \
	deploy/systemd/tt-agent-runner.service
sysusersdir = $(prefix)/lib/sysusers.d
nodist_sysusers_DATA = deploy/sysusers.d/tt-agent.conf
tmpfilesdir = $(prefix)/lib/tmpfiles.d
nodist_tmpfiles_DATA = deploy/tmpfiles.d/tt-agent.conf

# Nothing may still start what is gone: units of these files that run end, and the links that enable them are removed.
uninstall-enabled-units:
	@for file in $(dist_systemdunit_DATA) $(nodist_systemdunit_DATA); do \
		unit=$${file##*/}; \
		test -z "$(DESTDIR)" && test -d /run/systemd/system || break; \
		test "$$(systemctl show --property=FragmentPath --value "$$unit" 2>/dev/null)" = "$(systemdunitdir)/$$unit" || continue; \
		echo " systemctl stop $$unit"; systemctl stop "$$unit"; \
	done
	test ! -d "$(DESTDIR)/etc/systemd/system" || find "$(DESTDIR)/etc/systemd/system" -lname "$(systemdunitdir)/tt-agent*" -delete
	test -n "$(DESTDIR)" || test ! -d /run/systemd/system || systemctl daemon-reload

deploy_made = $(nodist_systemdunit_DATA) $(nodist_sysusers_DATA) $(nodist_tmpfiles_DATA)
deploy_fill = $(MKDIR_P) $(@D) && sed -e 's|@sbindir[@]|$(sbindir)|g' -e 's|@bindir[@]|$(bindir)|g' -e 's|@libexecdir[@]|$(libexecdir)|g'
CLEANFILES += $(deploy_made)
EXTRA_DIST += \
	debian \
	deploy/container/Dockerfile \
	deploy/container/Dockerfile.dockerignore \
	deploy/container/compose.hosts.yml \
	deploy/container/compose.tt-studio.yml \
	deploy/container/entry \
	deploy/debian-packages \
	deploy/helm \
	deploy/quickstart \
	deploy/systemd/tt-agentd.service.in \
	deploy/systemd/tt-agent-fcgi.service.in \
	deploy/systemd/tt-agent-runner.service.in \
	deploy/systemd/tt-agent.sysusers.in \
	deploy/systemd/tt-agent.tmpfiles.in

deploy/systemd/tt-agentd.service: $(srcdir)/deploy/systemd/tt-agentd.service.in Makefile
	$(AM_V_GEN)$(deploy_fill) $< >$@
deploy/systemd/tt-agent-fcgi.service: $(srcdir)/deploy/systemd/tt-agent-fcgi.service.in Makefile
	$(AM_V_GEN)$(deploy_fill) $< >$@
deploy/systemd/tt-agent-runner.service: $(srcdir)/deploy/systemd/tt-agent-runner.service.in Makefile
	$(AM_V_GEN)$(deploy_fill) $< >$@
deploy/sysusers.d/tt-agent.conf: $(srcdir)/deploy/systemd/tt-agent.sysusers.in Makefile
	$(AM_V_GEN)$(deploy_fill) $< >$@
deploy/tmpfiles.d/tt-agent.conf: $(srcdir)/deploy/systemd/tt-agent.tmpfiles.in Makefile
	$(AM_V_GEN)$(deploy_fill) $< >$@

# Debian's packages, in build/packages of the sources or in DIR (make deb DIR=...).
deb:
	$(srcdir)/deploy/debian-packages $(DIR)
