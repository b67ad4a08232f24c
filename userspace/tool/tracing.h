/* SPDX-License-Identifier: MIT */
/*
 * tracing.h - what this tool uses of libtracefs, whose header is no C++ (1.6)
 */
#ifndef MYEPOLL_TOOL_TRACING_H
#define MYEPOLL_TOOL_TRACING_H

#include <stdbool.h>

#include <event-parse.h>

#ifdef __cplusplus
extern "C" {
#endif

/* It does not say so by itself. */
#include <kbuffer.h>

/* A buffer of its own in tracefs; NULL is the one that all share. */
struct tracefs_instance;

const char *tracing_dir(void);				/* or NULL */
/* Of these systems, up to a NULL; for tep_free(); or NULL */
struct tep_handle *tracing_formats(const char *const *systems);
struct tracefs_instance *tracing_create(const char *name);
void tracing_destroy(struct tracefs_instance *buffer);
int tracing_write(struct tracefs_instance *buffer, const char *file, const char *text);
char *tracing_read(struct tracefs_instance *buffer, const char *file); /* for free() */
int tracing_open(struct tracefs_instance *buffer, const char *file); /* to read, without waiting */
/* One tracepoint, or all of the system */
int tracing_switch(struct tracefs_instance *buffer, const char *system, const char *event, bool on);

#ifdef __cplusplus
}
#endif

#endif
