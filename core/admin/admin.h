/* admin.h: how a running router is looked at: /metrics (Prometheus), /healthz, /readyz, over HTTP
 * on the control loop. */
#ifndef MW_ADMIN_H
#define MW_ADMIN_H

#include "flow/flow.h"

/* An extension of a flow that listens on `address` ("host:port"). */
mw_flow_extension mw_admin_extension(const char *address);

#endif
