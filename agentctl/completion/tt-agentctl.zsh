#compdef tt-agentctl
# zsh completion for tt-agentctl, printed by `make documents`; installed as _tt-agentctl.
_tt_agentctl_models()
{
	tt-agentctl --json $run_dir models 2>/dev/null | sed -n 's/^ *"deploy_id": "\(.*\)",$/\1/p'
}

_tt_agentctl()
{
	local settings='log log.level log.debug log.format log.requests log.target trace trace.endpoint trace.sample trace.headers trace.service polling polling.enabled polling.interval polling.max_attempts polling.waiting_reply polling.hold auth auth.jwt_secret auth.team_id auth.token_id auth.volume cloud cloud.enabled cloud.url cloud.token cloud.model cloud.fallback cloud.ca_file cloud.temperature cloud.max_tokens cloud.omit cloud.extra proxy proxy.https proxy.http proxy.exceptions container container.name container.omit container.extra local local.enabled local.host local.port local.model local.omit local.extra discovery discovery.enabled discovery.backend_url discovery.cache_ttl discovery.interval discovery.timeout discovery.hosts discovery.omit discovery.extra health health.enabled health.interval health.timeout health.max_failures health.rise health.fast_interval health.down_interval health.stable_time health.canary_interval health.canary_timeout health.eject_time health.eject_max health.degraded_after balance balance.capacity balance.capacities balance.metrics_interval balance.warmup selection selection.priority_models selection.model_types llm llm.model llm.temperature llm.top_k llm.top_p llm.max_tokens llm.stop llm.omit llm.extra llm.context llm.connect_timeout llm.idle_timeout llm.continue llm.silence_timeout llm.stall_timeout prompts prompts.plain prompts.tools prompts.length_note http http.prefixes http.subject_header http.public_status http.ui http.strict_status http.hosts http.origins http.api http.agent_suffix http.thread_headers http.cors_origins http.mcp http.mcp_url http.body_limit http.request_timeout fcgi fcgi.trusted access access.require access.keys_file access.jwt_issuer access.jwt_audience access.jwt_jwks_url access.jwt_secret access.jwt_leeway access.requests_per_minute access.tokens_per_minute access.turns usage usage.file usage.retain usage.max_rows hosts hosts.redis hosts.name hosts.count limits limits.turns limits.client_turns limits.requests_per_minute limits.tokens_per_minute limits.waiting limits.event_streams limits.client_event_streams limits.turn_time limits.tool_time limits.tool_rounds limits.tool_calls limits.hang_time limits.threads queue queue.length queue.per_key queue.wait threads threads.store threads.required threads.expire threads.store_responses threads.short_id_idle threads.max_bytes threads.max_threads threads.unsaved_dir threads.max_unsaved_bytes threads.max_turn_bytes redis redis.password redis.password_file redis.sentinel_username redis.sentinel_password redis.sentinel_password_file redis.ca_file redis.cert_file redis.key_file redis.timeout search search.order search.max_results search.result_chars search.timeout search.cooldown search.tavily_key search.tavily_url search.searxng_url search.brave_key search.brave_url documents documents.enabled documents.collection documents.max_results documents.result_chars documents.connect_timeout documents.timeout code code.local code.runner_socket code.timeout code.client_runs code.idle code.internet code.output_limit code.e2b_key code.e2b_url code.e2b_domain code.e2b_sandbox_url mcp mcp.servers mcp.output_limit mcp.reply_limit config config.dynamic config.watch config.refresh_interval config.refresh_llm'
	local command= follow= i
	local -a run_dir options commands line=("${words[@]}")
	options=(
		'--run-dir:Run directory of the service. Default: $TT_AGENT_RUN_DIR, else /run/tt-agent.'
		'--json:Prints the answer as JSON, for scripts.'
		'--timeout:Longest wait for the answer; 0 means the command'\''s own limit.'
		'--since:events, usage: what is recorded since then, such as 10m, 14:30 or today; events: or from that number on.'
		'--follow:events: after what is recorded, what comes.'
		'--batch:top: prints pages instead of filling the screen.'
		'--count:top: so many pages; 0 means without end.'
		'--delay:top: time between two refreshes, at least 0.1.'
		'--token-env:probe, chat, doctor: the environment variable that holds the token (never the token itself).'
		'--model:probe: the model to ask for; default: the first that the server lists. chat: the model to talk to.'
		'--proxy:probe: the proxy to the server, as proxy.https and proxy.http have it; local servers are asked directly.'
		'--ca:probe: the certificates that the server'\''s must be signed by, as cloud.ca_file has it.'
		'--by:usage: summed by key (the default), subject, model, outcome or day.'
		'--all-hosts:usage: of all hosts that share a Redis (hosts.redis), for whole days (UTC); also by host, and not by subject.'
		'--changed:config: only the settings that differ from the defaults.'
		'--url:chat: the service'\''s URL at its web server. doctor: also checks what a client gets there, by one short chat.'
		'--thread:chat: the conversation to continue; default: a new one.'
		'--try:doctor: also makes a search with each configured service, and a chat request to the current LLM.'
		'--version:Prints the version.'
		'--help:Prints the options.'
	)
	commands=(
		'ping:Shows that the daemon answers: pid, version, uptime, generation.'
		'status:The whole state, as GET /status gives it.'
		'models:Every known LLM with its health, reason and rank.'
		'config:Every setting with its value and origin; secrets hidden.'
		'events:A stream of state changes, one line each, until Ctrl-C.'
		'test:One real request to the current LLM.'
		'refresh:Forgets what is cached, discovers again, selects again.'
		'select:Pins one model until the next refresh.'
		'unselect:Removes the pin.'
		'drain:Gives one model no new turns, until it is undrained.'
		'undrain:Gives it new turns again.'
		'reload:Reads the configuration again.'
		'log-level:Changes tt-agentd'\''s log level until the next reload.'
		'shutdown:Ends the daemon cleanly; systemd starts it again where it runs it.'
		'metrics:Prints the metrics for Prometheus.'
		'keys:The API keys, without their secrets.'
		'usage:What attempts at LLMs took: their number and tokens, by key, or as --by and --since say.'
		'mcp:The MCP servers, and why one fails.'
		'threads:Stored conversations, the last used first.'
		'probe:Finds out what an LLM server that is not configured yet can do, and what to configure.'
		'doctor:What is wrong with the service, and the line that fixes it; nothing where nothing is wrong.'
		'top:What runs, live: models with their requests, tokens/s, times, errors and health.'
		'chat:A conversation with the service, through its web server.'
	)
	for ((i = 2; i < CURRENT; i++)); do
		case $line[i] in
		-r | --run-dir) run_dir=(--run-dir $line[++i]) ;;
		-r | --run-dir | -t | --timeout | -s | --since | -n | --count | -d | --delay | --token-env | --model | --proxy | --ca | --by | --url | --thread) ((++i)) ;;
		-*) ;;
		*) command+=${command:+ }$line[i] ;;
		esac
	done
	case $line[CURRENT-1] in
	-r | --run-dir) _files -/ && return ;;
	--ca) _files && return ;;
	--token-env) _parameters -g '*export*' && return ;;
	--model) compadd -- ${(f)"$(_tt_agentctl_models)"} && return ;;
	-r | --run-dir | -t | --timeout | -s | --since | -n | --count | -d | --delay | --token-env | --model | --proxy | --ca | --by | --url | --thread) return ;;
	esac
	if [[ $PREFIX == -* ]]; then
		_describe -o option options
		return
	fi
	case $command in
	'') _describe -t commands command commands && return ;;
	'config explain') follow="$settings" ;;
	'config') follow="$settings explain" ;;
	'config '*) follow="$settings" ;;
	'select') follow="$(_tt_agentctl_models)" ;;
	'drain') follow="$(_tt_agentctl_models)" ;;
	'undrain') follow="$(_tt_agentctl_models)" ;;
	'log-level') follow="DEBUG INFO WARNING ERROR CRITICAL" ;;
	'keys') follow="list create rotate revoke delete" ;;
	'mcp') follow="list tools call" ;;
	'threads') follow="list show stat size delete delete-user delete-all export copy" ;;
	esac
	compadd -M 'm:{a-z}={A-Z}' -- ${=follow}
}

_tt_agentctl "$@"
