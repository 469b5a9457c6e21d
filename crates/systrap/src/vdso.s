// Code of the vDSO. The clock page lies one page before the image; see `clock.rs` for its fields.
// A clock that cannot be read here, or a page that is out of date, falls back on the system call.

.pushsection .text.tegmen_vdso,"ax",@progbits
.balign 64
.globl tegmen_vdso_start
.hidden tegmen_vdso_start
tegmen_vdso_start:

// Nanoseconds of the clock whose base lies at offset r9 of the page, in rax. Carry set: unknown.
// Clobbers rcx, rdx, r8, r10, r11.
vdso_read:
    lea r8, [rip + tegmen_vdso_start - {CODE_AT} - 4096]
1:  mov r10d, [r8 + {SEQ}]
    test r10d, 1
    jnz 3f
    lfence
    rdtsc
    shl rdx, 32
    or rax, rdx
    sub rax, [r8 + {BASE}]
    cmp rax, [r8 + {WINDOW}]
    jae 2f
    mul qword ptr [r8 + {MULT}]
    shrd rax, rdx, 32
    add rax, [r8 + r9]
    cmp r10d, [r8 + {SEQ}]
    jne 1b
    clc
    ret
2:  cmp r10d, [r8 + {SEQ}]
    jne 1b
    stc
    ret
3:  pause
    jmp 1b

// int clock_gettime(clockid_t edi, struct timespec *rsi)
.globl tegmen_vdso_clock_gettime
.hidden tegmen_vdso_clock_gettime
tegmen_vdso_clock_gettime:
    mov r9d, {REAL}
    test edi, edi                       // CLOCK_REALTIME
    je 4f
    cmp edi, 5                          // CLOCK_REALTIME_COARSE
    je 4f
    mov r9d, {MONO}
    cmp edi, 1                          // CLOCK_MONOTONIC
    je 4f
    cmp edi, 6                          // CLOCK_MONOTONIC_COARSE
    je 4f
    mov r9d, {BOOT}
    cmp edi, 7                          // CLOCK_BOOTTIME
    jne 5f
4:  call vdso_read
    jc 5f
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    mov [rsi], rax
    mov [rsi + 8], rdx
    xor eax, eax
    ret
5:  mov eax, 228
    syscall
    ret

// int gettimeofday(struct timeval *rdi, struct timezone *rsi)
.globl tegmen_vdso_gettimeofday
.hidden tegmen_vdso_gettimeofday
tegmen_vdso_gettimeofday:
    test rsi, rsi
    jnz 7f
    test rdi, rdi
    jz 6f
    mov r9d, {REAL}
    call vdso_read
    jc 7f
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    mov [rdi], rax
    mov rax, rdx
    xor edx, edx
    mov ecx, 1000
    div rcx
    mov [rdi + 8], rax
6:  xor eax, eax
    ret
7:  mov eax, 96
    syscall
    ret

// time_t time(time_t *rdi)
.globl tegmen_vdso_time
.hidden tegmen_vdso_time
tegmen_vdso_time:
    mov r9d, {REAL}
    call vdso_read
    jc 9f
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    test rdi, rdi
    jz 8f
    mov [rdi], rax
8:  ret
9:  mov eax, 201
    syscall
    ret

// int clock_getres(clockid_t edi, struct timespec *rsi)
.globl tegmen_vdso_clock_getres
.hidden tegmen_vdso_clock_getres
tegmen_vdso_clock_getres:
    mov eax, 229
    syscall
    ret

// int getcpu(unsigned *rdi, unsigned *rsi, void *)
.globl tegmen_vdso_getcpu
.hidden tegmen_vdso_getcpu
tegmen_vdso_getcpu:
    mov eax, 309
    syscall
    ret

.globl tegmen_vdso_end
.hidden tegmen_vdso_end
tegmen_vdso_end:
.popsection
