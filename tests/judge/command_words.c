/* Prints the words of one ExecStart= line as systemd gives them to the process, each ended by a NUL.
 *
 * It calls systemd's own functions, as config_parse_exec() and exec_child() do: extract_first_word(), specifier_printf()
 * and replace_env_argv(), which libsystemd-shared exports. The only specifiers known are "%%" and those that Quadlet
 * writes itself, and no variable is known: fleet writes none into a value. */
#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXTRACT_CUNESCAPE = 1 << 1, EXTRACT_UNQUOTE = 1 << 5 }; /* src/basic/extract-word.h */

struct specifier { /* src/shared/specifier.h */
    char specifier;
    int (*lookup)(char, const void *data, const char *, const void *, char **);
    const void *data;
};

static int text(char specifier, const void *data, const char *root, const void *userdata, char **ret) {
    (void) specifier, (void) root, (void) userdata;
    return (*ret = strdup(data)) ? 0 : -1;
}

static const struct specifier table[] = {{'t', text, "/run"}, {'N', text, "unit"}, {0}};

int main(void) {
    static char input[1 << 20];
    size_t length = fread(input, 1, sizeof input - 1, stdin);
    input[length] = 0;
    glob_t found;
    if (glob("/usr/lib/*/systemd/libsystemd-shared-*.so", 0, NULL, &found)) return 2;
    void *lib = dlopen(found.gl_pathv[0], RTLD_NOW);
    if (!lib) return fprintf(stderr, "%s\n", dlerror()), 2;
    int (*extract_first_word)(const char **, char **, const char *, int) = dlsym(lib, "extract_first_word");
    int (*specifier_printf)(const char *, size_t, const struct specifier *, const char *, const void *, char **) =
        dlsym(lib, "specifier_printf");
    int (*replace_env_argv)(char **, char **, char ***, char ***, char ***) = dlsym(lib, "replace_env_argv");
    static char *words[4096], *environment[1];
    const char *rest = input;
    for (int n = 0; n < 4095; n++) {
        char *word;
        int r = extract_first_word(&rest, &word, NULL, EXTRACT_UNQUOTE | EXTRACT_CUNESCAPE);
        if (r < 0) return fprintf(stderr, "extract_first_word: %s\n", strerror(-r)), 1;
        if (r == 0) break;
        r = specifier_printf(word, 1 << 20, table, NULL, NULL, &words[n]);
        if (r < 0) return fprintf(stderr, "specifier_printf: %s\n", strerror(-r)), 1;
    }
    char **argv, **unset = NULL, **bad = NULL;
    int r = replace_env_argv(words, environment, &argv, &unset, &bad);
    if (r < 0) return fprintf(stderr, "replace_env_argv: %s\n", strerror(-r)), 1;
    if ((unset && *unset) || (bad && *bad)) return fprintf(stderr, "a variable was expanded\n"), 1;
    for (; *argv; argv++) fwrite(*argv, 1, strlen(*argv) + 1, stdout);
    return 0;
}
