/* Programs that lie: ELF files with absurd headers, scripts without end. */
#include "escape.h"
#include <elf.h>

static unsigned char file[1 << 20];
static int tried, died, refused;

static void start(void *len)
{
    unlink("/tmp/program");
    int fd = open("/tmp/program", O_CREAT | O_WRONLY | O_TRUNC, 0700);
    if (write(fd, file, (long)len) != (long)len)
        _exit(3);
    close(fd);
    char *argv[] = {"program", NULL};
    execve("/tmp/program", argv, argv);
    _exit(100 + (errno & 31));
}

static void run(long len)
{
    int status = attack(start, (void *)len, 5);
    tried++;
    died += WIFSIGNALED(status);
    refused += WIFEXITED(status);
}

static Elf64_Ehdr *header(void)
{
    memset(file, 0, sizeof file);
    Elf64_Ehdr *e = (void *)file;
    memcpy(e->e_ident, ELFMAG, 4);
    e->e_ident[EI_CLASS] = ELFCLASS64;
    e->e_ident[EI_DATA] = ELFDATA2LSB;
    e->e_ident[EI_VERSION] = 1;
    e->e_type = ET_EXEC;
    e->e_machine = EM_X86_64;
    e->e_version = 1;
    e->e_entry = 0x401000;
    e->e_phoff = 64;
    e->e_ehsize = 64;
    e->e_phentsize = 56;
    e->e_phnum = 1;
    Elf64_Phdr *p = (void *)(file + 64);
    *p = (Elf64_Phdr){PT_LOAD, PF_R | PF_X, 0, 0x400000, 0x400000, 0x2000, 0x2000, 0x1000};
    return e;
}

int main(void)
{
    Elf64_Ehdr *e;
    Elf64_Phdr *p = (void *)(file + 64);
    header();
    run(8192);
    static const unsigned counts[] = {0, 2, 1000, 0xfffe, 0xffff};
    for (unsigned i = 0; i < LENGTH(counts); i++) {
        e = header();
        e->e_phnum = counts[i];
        for (unsigned n = 0; n < counts[i] && 64 + 56 * (n + 1) < sizeof file; n++)
            p[n] = (Elf64_Phdr){PT_LOAD, 7, 0, 0x400000 + n * 0x1000UL, 0, 0x1000, 0x1000, 0x1000};
        run(sizeof file);
        run(200);
    }
    static const unsigned long odd[] = {0, 1, 0xfff, 0x1000, 0x7ffffffff000, 0x7fff00000000, 0x7ffeffffffff, 0x800000000000, 0x7fffffffffffffff, 0x8000000000000000, 0xfffffffffffff000, -1UL, 0xffff800000000000, 0x10000, 1UL << 46};
    for (unsigned i = 0; i < LENGTH(odd); i++) {
        header(); p->p_vaddr = odd[i]; run(8192);
        header(); p->p_memsz = odd[i]; run(8192);
        header(); p->p_filesz = odd[i]; run(8192);
        header(); p->p_filesz = p->p_memsz = odd[i]; run(8192);
        header(); p->p_offset = odd[i]; run(8192);
        header(); p->p_align = odd[i]; run(8192);
        e = header(); e->e_entry = odd[i]; run(8192);
        e = header(); e->e_phoff = odd[i]; run(8192);
        e = header(); e->e_type = ET_DYN; p->p_vaddr = odd[i]; run(8192);
        e = header(); e->e_type = ET_DYN; p->p_align = odd[i]; run(8192);
        e = header(); e->e_phnum = 2; p[1] = (Elf64_Phdr){PT_INTERP, 4, odd[i], 0, 0, 16, 16, 1}; run(8192);
        e = header(); e->e_phnum = 2; p[1] = (Elf64_Phdr){PT_INTERP, 4, 512, 0, 0, odd[i], odd[i], 1}; run(8192);
        e = header(); e->e_phnum = 2; p[1] = (Elf64_Phdr){PT_GNU_STACK, odd[i] & 7, 0, 0, 0, 0, odd[i], 16}; run(8192);
        e = header(); e->e_phnum = 2; p[1] = (Elf64_Phdr){PT_GNU_PROPERTY, 4, odd[i], 0, 0, odd[i], odd[i], 8}; run(8192);
        e = header(); e->e_phnum = 3; p[1] = (Elf64_Phdr){PT_LOAD, 6, 0, 0x400000 + (odd[i] & 0xffff), 0, 0x2000, odd[i], 0x1000}; p[2] = p[0]; run(8192);
        e = header(); e->e_phnum = 2; p[1] = (Elf64_Phdr){PT_TLS, 4, odd[i], odd[i], 0, odd[i], odd[i], odd[i]}; run(8192);
    }
    /* Its own interpreter; an interpreter that is a directory, a fifo, itself again by a link, too long, not ended. */
    static const char *interpreters[] = {"/tmp/program", "/tmp", "/dev/zero", "/proc/self/exe", "/proc/self/mem", "", "no-such", "/dev/stdin"};
    for (unsigned i = 0; i < LENGTH(interpreters); i++) {
        e = header();
        e->e_phnum = 2;
        strcpy((char *)file + 512, interpreters[i]);
        p[1] = (Elf64_Phdr){PT_INTERP, 4, 512, 0, 0, strlen(interpreters[i]) + 1, 0, 1};
        run(8192);
        p[1].p_filesz--;
        run(8192);
    }
    TRIED("crafted headers: %d programs, %d died, %d were refused or ended", tried, died, refused);
    uint64_t state = 3;
    for (int n = 0; n < 300; n++) {
        header();
        for (int changes = 1 + next_random(&state) % 6; changes > 0; changes--)
            file[next_random(&state) % 176] = next_random(&state) & 1 ? (unsigned char)next_random(&state) : 0xff;
        run(next_random(&state) % 3 ? 8192 : next_random(&state) % 200);
    }
    TRIED("random headers: %d programs in all, %d died, %d were refused or ended", tried, died, refused);
    static const char *scripts[] = {"#!", "#!\n", "#! \n", "#!/tmp/program\n", "#!/tmp/program /tmp/program\n", "#!/\n", "#!/dev/null\n", "#!/proc/self/exe x\n", "#!/bin/sh", "#!relative\n", "#!\0\n", "#!/proc/self/mem\n", "#!//////////////////////////////////////////////////////tmp/program\n"};
    for (unsigned i = 0; i < LENGTH(scripts); i++) {
        memset(file, 0, 4096);
        strcpy((char *)file, scripts[i]);
        run(strlen(scripts[i]));
        memset(file + strlen(scripts[i]), ' ', 4096 - strlen(scripts[i]));
        run(4096);
    }
    memset(file, 'a', sizeof file);
    memcpy(file, "#!/", 3);
    run(sizeof file);
    run(300);
    run(0);
    run(1);
    run(2);
    TRIED("scripts without end");
    CONTAINED();
}
