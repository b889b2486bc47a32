/* model_compare.h -- is the engine equal to the model?  Says what differs and aborts if not. */
#ifndef NOVABEAT_TESTS_MODEL_COMPARE_H
#define NOVABEAT_TESTS_MODEL_COMPARE_H

#include "model/model_engine.h"

_Noreturn void model_differ(const char *what, struct slice event, struct slice session,
                            int64_t tested, int64_t model);

/* Aborts unless the two are the same. */
#define MODEL_SAME(what, event, session, tested, model)                                            \
    ((int64_t)(tested) == (int64_t)(model)                                                         \
         ? (void)0                                                                                 \
         : model_differ(what, event, session, (int64_t)(tested), (int64_t)(model)))

/* Figures, overview, live and one viewer's viewings of every event of the model that the engine has
 * in memory, one viewer by number; the frames that are over and were not collected, which must be
 * all of them if never_collected; and engine_check. */
void model_compare(const struct model *model, struct engine *engine, uint64_t viewer_at,
                   bool never_collected);

/* A stored or lent frame is the model's. */
void model_same_frame(struct slice event, struct slice session, const struct frame_row *got,
                      const struct model_frame *want);

/* The engine says that the viewer never came. */
void model_same_absent(struct engine *engine, struct slice event, struct slice viewer);

#endif
