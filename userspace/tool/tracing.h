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

/* A buffer of its own in tracefs */
struct tracefs_instance;

typedef int tracing_callback(struct tep_event *format, struct tep_record *record, int cpu,
			     void *context);

const char *tracing_dir(void);				/* or NULL */
struct tep_handle *tracing_formats(const char *system);	/* for tep_free(); or NULL */
struct tracefs_instance *tracing_create(const char *name);
void tracing_destroy(struct tracefs_instance *buffer);
int tracing_write(struct tracefs_instance *buffer, const char *file, const char *text);
char *tracing_read(struct tracefs_instance *buffer, const char *file); /* for free() */
int tracing_switch(struct tracefs_instance *buffer, const char *system, bool on);
int tracing_iterate(struct tracefs_instance *buffer, struct tep_handle *formats,
		    tracing_callback *callback, void *context);

#ifdef __cplusplus
}
#endif

#endif
