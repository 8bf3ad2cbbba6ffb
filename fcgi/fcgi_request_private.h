/* SPDX-License-Identifier: Apache-2.0 */
/* What fcgi_request.c, which reads requests, and output.c, which writes responses, share: the only
 * header that includes libfcgi's. */
#ifndef TT_FCGI_FCGI_REQUEST_PRIVATE_H
#define TT_FCGI_FCGI_REQUEST_PRIVATE_H

#include "fcgi/fcgi_request.h"

#include <fcgiapp.h>

struct fcgi_request {
	FCGX_Request fcgx;
	struct fcgi_request_params params;
	char *body;
	size_t body_len;
	size_t pending; /* bytes in the record that is being filled */
	bool open;
};

#endif
