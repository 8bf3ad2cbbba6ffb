/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/view.h"

long status_view_current(const struct status_view *v)
{
	return v->usable_count > 0 ? (long)v->order[0] : -1;
}
