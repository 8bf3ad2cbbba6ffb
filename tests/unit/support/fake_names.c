/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support/fake_names.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct {
	pthread_mutex_t lock;
	pthread_cond_t released;
	bool release;
	int asked[8];
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .released = PTHREAD_COND_INITIALIZER};

static const char *const names[] = {"one.test", "two.test", "flaky.test", "gone.test", "slow.test", "localhost"};

struct answer {
	struct addrinfo info;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address;
};

static int number_of(const char *name)
{
	for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

int fake_names_asked(const char *name)
{
	int count;

	pthread_mutex_lock(&fake.lock);
	count = fake.asked[number_of(name)];
	pthread_mutex_unlock(&fake.lock);
	return count;
}

void fake_names_reset(void)
{
	pthread_mutex_lock(&fake.lock);
	memset(fake.asked, 0, sizeof fake.asked);
	fake.release = false;
	pthread_mutex_unlock(&fake.lock);
}

void fake_names_release(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.release = true;
	pthread_cond_broadcast(&fake.released);
	pthread_mutex_unlock(&fake.lock);
}

static struct addrinfo *answer_new(int family, struct addrinfo *next)
{
	struct answer *a = calloc(1, sizeof *a);

	a->info.ai_family = family;
	a->info.ai_socktype = SOCK_STREAM;
	a->info.ai_addr = &a->address.any;
	a->info.ai_next = next;
	a->address.any.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		a->address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a->address.v6.sin6_addr = in6addr_loopback;
	return &a->info;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	int number = number_of(name), count;

	(void)service;
	(void)hints;
	if (number < 0)
		return EAI_NONAME;
	pthread_mutex_lock(&fake.lock);
	count = ++fake.asked[number];
	while (strcmp(name, "slow.test") == 0 && !fake.release)
		pthread_cond_wait(&fake.released, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
	if (strcmp(name, "gone.test") == 0)
		return EAI_NONAME;
	if (strcmp(name, "flaky.test") == 0 && count > 1)
		return EAI_AGAIN;
	*list = answer_new(AF_INET, strcmp(name, "two.test") == 0 ? answer_new(AF_INET6, NULL) : NULL);
	return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
	while (list != NULL) {
		struct addrinfo *next = list->ai_next;

		free((struct answer *)(void *)list);
		list = next;
	}
}
