/* A plugin of qemu: counts the instructions that each processor of a guest executes, the guest's kernel and its programs
 * apart, in a file that the host maps while the guest runs. Option: out=FILE.
 *
 * Debian ships no header for plugins: what is used of version 1 of their interface is declared here. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_info_t;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned int, void *), enum qemu_plugin_cb_flags,
                                          void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

SHOWN int qemu_plugin_version = 1;

/* One cache line a processor, so that they do not slow each other down. vcpus.py reads it. */
static struct { uint64_t user, kernel, unused[6]; } *counts;
enum { FILE_BYTES = 4096, PROCESSORS = FILE_BYTES / 64 };

static void in_user(unsigned int processor, void *instructions)
{
    counts[processor % PROCESSORS].user += (uintptr_t)instructions;
}

static void in_kernel(unsigned int processor, void *instructions)
{
    counts[processor % PROCESSORS].kernel += (uintptr_t)instructions;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    /* The kernel has the upper half of the addresses. */
    int kernel = (int64_t)qemu_plugin_tb_vaddr(block) < 0;
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, kernel ? in_kernel : in_user, QEMU_PLUGIN_CB_NO_REGS,
                                         (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

SHOWN int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
    int file;
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0)
        return -1;
    file = open(argv[0] + 4, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, FILE_BYTES) != 0)
        return -1;
    counts = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (counts == MAP_FAILED)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
