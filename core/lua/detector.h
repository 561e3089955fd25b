/* detector.h: detectors as flows declare them; what they learn is kept by key (lua/keep.h). */
#ifndef MW_LUA_DETECTOR_H
#define MW_LUA_DETECTOR_H

#include <lua.h>

/* Adds `detector(kind, options)` to the table on top of the stack, of options as JSON: a userdata
 * that holds a detector, its address, and the bytes of its states; or nil and what is wrong. */
void mw_detector_open(lua_State *L);

#endif
