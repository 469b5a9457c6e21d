// The stub: all code of ours that runs in guest processes. Position independent; copied to STUB_ADDR.
// Register and memory discipline:
//  - zygote, helper and thread start are stackless: no state of theirs lies in memory the guest can write;
//  - the signal handler runs on the thread area's alternate stack; rbx is the area, rdx the ucontext;
//  - a patched call site comes in without a signal, finds the area by the GS base, and saves the registers there;
//  - nothing here is trusted by the sentry once guest code runs in the process, except the helper.

.pushsection .text.tegmen_stub,"ax",@progbits
.balign 4096
.globl tegmen_stub_start
.hidden tegmen_stub_start
tegmen_stub_start:

// ---------------------------------------------------------------- zygote
// r12: address of this copy, r13: stub file, r14: command file. Runs on a copy of the sentry's memory.
.globl tegmen_stub_zygote
.hidden tegmen_stub_zygote
tegmen_stub_zygote:
    xor edi, edi
    mov rsi, r12
    mov eax, 11                         // munmap below
    syscall
    test rax, rax
    jnz die
    lea rdi, [r12 + {STUB_LEN}]
    movabs rsi, {TASK_END}
    sub rsi, rdi
    mov eax, 11                         // munmap above
    syscall
    test rax, rax
    jnz die
    movabs rdi, {STUB_ADDR}
    mov esi, {STUB_LEN}
    mov edx, 5                          // PROT_READ|PROT_EXEC
    mov r10d, 0x12                      // MAP_PRIVATE|MAP_FIXED
    mov r8d, r13d
    xor r9d, r9d
    mov eax, 9
    syscall
    cmp rax, rdi
    jne die
    movabs rax, {STUB_ADDR}
    lea rcx, [rip + zygote_home]
    sub rcx, r12
    add rax, rcx
    jmp rax
zygote_home:
    mov rdi, r12
    mov esi, {STUB_LEN}
    mov eax, 11
    syscall
    movabs rdi, {HELPER_STACK}
    mov esi, {HELPER_STACK_LEN}
    mov edx, 3
    mov r10d, 0x4032                    // MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS|MAP_NORESERVE
    mov r8, -1
    xor r9d, r9d
    mov eax, 9
    syscall
    cmp rax, rdi
    jne die
    // Signals: ours for what guests raise, default for all others.
    mov ebx, 1
2:  lea rsi, [rip + stub_data + {DEFAULT_ACTION}]
    movabs rax, {HANDLED}
    bt rax, rbx
    jnc 3f
    lea rsi, [rip + stub_data + {ACTION}]
3:  mov edi, ebx
    xor edx, edx
    mov r10d, 8
    mov eax, 13                         // rt_sigaction; fails for SIGKILL and SIGSTOP
    syscall
    inc ebx
    cmp ebx, 65
    jb 2b
    lea rdi, [rip + stub_data + {HELPER_STACK_T}]
    xor esi, esi
    mov eax, 131                        // sigaltstack
    syscall
    test rax, rax
    jnz die
    mov edi, 2                          // SIG_SETMASK
    lea rsi, [rip + stub_data + {HELPER_SIGNALS}]
    xor edx, edx
    mov r10d, 8
    mov eax, 14
    syscall
    test rax, rax
    jnz die
    mov eax, 112                        // setsid: no terminal signal reaches guests
    syscall
    lea rdi, [rip + stub_data + {CAP_HEADER}]
    lea rsi, [rip + stub_data + {CAP_DATA}]
    mov eax, 126                        // capset: none
    syscall
    test rax, rax
    jnz die
    mov edi, 4                          // PR_SET_DUMPABLE: process_vm_readv of the sentry needs it
    mov esi, 1
    xor edx, edx
    xor r10d, r10d
    xor r8d, r8d
    mov eax, 157
    syscall
    mov edi, 38                         // PR_SET_NO_NEW_PRIVS
    mov esi, 1
    xor edx, edx
    xor r10d, r10d
    xor r8d, r8d
    mov eax, 157
    syscall
    test rax, rax
    jnz die
    mov edi, 1                          // SECCOMP_SET_MODE_FILTER
    xor esi, esi
    lea rdx, [rip + stub_data + {HELPER_PROG}]
    mov eax, 317
    syscall
    test rax, rax
    jnz die
    movabs r12, {COMMAND_ADDR}
    mov r15d, r14d
    // falls through: a new process

// ---------------------------------------------------------------- memory helper
// r12: command page, r13d: last sequence number, r14d: command file, rbx: op, ebp: ops, r15d: index.
// r15d: command file of this new process.
new_process:
    mov rdi, r12
    mov esi, {COMMAND_LEN}
    mov edx, 1                          // PROT_READ
    mov r10d, 0x11                      // MAP_SHARED|MAP_FIXED
    mov r8d, r15d
    xor r9d, r9d
    mov eax, 9
    syscall
    cmp rax, r12
    jne die
    lea rdi, [r12 + {COMMAND_LEN}]
    mov esi, {HINT_LEN}
    mov edx, 3
    mov r10d, 0x11
    mov r8d, r15d
    mov r9d, {COMMAND_LEN}
    mov eax, 9
    syscall
    cmp rax, rdi
    jne die
    mov r14d, r15d
    mov edi, 1                          // PR_SET_PDEATHSIG: the process ends with the thread that made the engine
    mov esi, 9
    mov eax, 157
    syscall
    xor r13d, r13d
helper_loop:
    mov r15d, [r12 + {C_LOOKS}]
helper_look:
    mov eax, [r12 + {C_SEQ}]
    cmp eax, r13d
    jne helper_batch
    test r15d, r15d
    jz helper_sleep
    dec r15d
    mov eax, 24                         // sched_yield
    syscall
    jmp helper_look
helper_sleep:
    mov eax, 1
    xchg [r12 + {H_ASLEEP}], eax        // and a full barrier
    lea rdi, [r12 + {C_SEQ}]
    xor esi, esi                        // FUTEX_WAIT
    mov edx, r13d
    xor r10d, r10d
    mov eax, 202
    syscall
    mov dword ptr [r12 + {H_ASLEEP}], 0
    jmp helper_loop
helper_batch:
    mov r13d, eax
    mov ebp, [r12 + {C_COUNT}]
    lea rbx, [r12 + {C_OPS}]
    xor r15d, r15d
    xor eax, eax
helper_next:
    cmp r15d, ebp
    jae helper_done
    mov rax, [rbx]
    cmp rax, {OP_CAS}
    jae helper_special
    mov rdi, [rbx + 8]
    mov rsi, [rbx + 16]
    mov rdx, [rbx + 24]
    mov r10, [rbx + 32]
    mov r8, [rbx + 40]
    mov r9, [rbx + 48]
    syscall
helper_result:
    cmp rax, -4095
    jae helper_failed
    add rbx, {C_OP_LEN}
    inc r15d
    jmp helper_next
helper_done:
    xor ecx, ecx
    jmp helper_ack
helper_failed:
    neg eax
    mov ecx, eax
    mov eax, r15d
helper_ack:                             // eax: value, ecx: errno
    mov esi, eax
    shl rcx, 32
    or rsi, rcx
    mov eax, r13d
    and eax, 0x7ffff
    shl rax, 44
    or rsi, rax
    mov edi, r14d
    xor edx, edx                        // SEEK_SET
    mov eax, 8                          // lseek: the one place the guest cannot write
    syscall
    mov eax, r13d
    xchg [r12 + {H_DONE}], eax          // hint, and a full barrier
    cmp dword ptr [r12 + {C_WAITING}], 0
    je helper_loop
    lea rdi, [r12 + {H_DONE}]
    mov esi, 1                          // FUTEX_WAKE
    mov edx, 1
    mov eax, 202
    syscall
    jmp helper_loop
helper_special:
    cmp rax, {OP_FORK}
    je helper_fork
    cmp rax, {OP_THREAD}
    je helper_thread
    cmp rax, {OP_CAS64}
    je helper_cas64
    // OP_CAS: a fault comes back at helper_fault, with r11 as the mark that one was to be expected.
    mov rdi, [rbx + 8]
    mov rax, [rbx + 16]
    mov rdx, [rbx + 24]
    movabs r11, {FAULT_MARK}
    lock cmpxchg [rdi], edx
    xor r11d, r11d
    mov eax, eax
    add rbx, {C_OP_LEN}
    inc r15d
    jmp helper_next
helper_cas64:
    mov rdi, [rbx + 8]
    mov rax, [rbx + 16]
    mov rdx, [rbx + 24]
    movabs r11, {FAULT_MARK}
    lock cmpxchg [rdi], rdx
    mov r11d, 0
    mov eax, 0
    mov ecx, -11                        // EAGAIN
    cmovne eax, ecx
    movsxd rax, eax
    jmp helper_result
helper_fork:
    mov r15d, [rbx + 8]
    mov edi, {FORK_FLAGS}
    xor esi, esi
    xor edx, edx
    xor r10d, r10d
    xor r8d, r8d
    mov eax, 56
    syscall
    test rax, rax
    jz new_process
    xor r15d, r15d
    jmp helper_result
helper_thread:
    mov r9, [rbx + 8]
    mov rsi, [rbx + 16]
    mov edi, {THREAD_FLAGS}
    xor edx, edx
    mov r10, r9                         // the state word is cleared when the thread exits
    xor r8d, r8d
    mov eax, 56
    syscall
    test rax, rax
    jz thread_start
    jmp helper_result
helper_fault:
    movabs rax, {FAULT_MARK}
    cmp r11, rax
    jne die
    xor r11d, r11d
    movabs r12, {COMMAND_ADDR}
    mov eax, r15d
    mov ecx, 14                         // EFAULT
    jmp helper_ack

// Ends the calling thread; with the helper gone nothing works, so the sentry kills the process.
die:
    mov edi, 1
    mov eax, 60
    syscall
    jmp die

// ---------------------------------------------------------------- guest thread
// r9: area.
thread_start:
    mov rbx, r9
    xor edi, edi
    mov esi, -1
    mov edx, 2                          // CLOSE_RANGE_UNSHARE
    mov eax, 436
    syscall
    test rax, rax
    jnz die
    lea rdi, [rbx + {A_STACK_T}]
    xor esi, esi
    mov eax, 131
    syscall
    test rax, rax
    jnz die
    mov edi, 2
    lea rsi, [rip + stub_data + {NO_SIGNALS}]
    xor edx, edx
    mov r10d, 8
    mov eax, 14
    syscall
    test rax, rax
    jnz die
    mov edi, 1
    xor esi, esi
    lea rdx, [rip + stub_data + {GUEST_PROG}]
    mov eax, 317
    syscall
    test rax, rax
    jnz die
    wrgsbase rbx
    mov rdx, [rbx + {A_UC}]
    xor edi, edi
    jmp post

// ---------------------------------------------------------------- signal handler
// edi: signal, rsi: siginfo, rdx: ucontext, rsp: frame.
.globl tegmen_stub_handler
.hidden tegmen_stub_handler
tegmen_stub_handler:
    push 2
    popfq                               // no AC, NT, DF, TF of the guest
    mov rbx, rsp
    and rbx, -{AREA_LEN}
    movabs rax, {HELPER_STACK}
    cmp rbx, rax
    je helper_fault
    movabs rcx, {STUB_ADDR}
    mov rax, [rdx + {UC_RIP}]
    sub rax, rcx
    cmp rax, {STUB_LEN}
    jb in_stub

// Hands the event to the sentry. rbx: area, rdx: ucontext, edi: signal.
post:
    mov [rbx + {A_SIG}], edi
    mov [rbx + {A_UC}], rdx
    lea rsp, [rdx - 8]
    rdfsbase rax
    mov [rbx + {A_FS_BASE}], rax
    rdgsbase rax
    mov [rbx + {A_GS_BASE}], rax
    rdtscp
    shl rdx, 32
    or rax, rdx
    mov [rbx + {A_TSC}], rax
    and ecx, 0xfff                      // as Linux sets it: the node is above
    mov [rbx + {A_CPU}], ecx
    mov dword ptr [rbx + {A_RESUME}], 0
post_state:
    mov eax, {EVENT}
    xchg [rbx + {A_STATE}], eax
    test eax, {SLEEP}
    jz await
    lea rdi, [rbx + {A_STATE}]
    mov esi, 1
    mov edx, 1
    mov eax, 202
    syscall
await:
    mov r8d, [rbx + {A_YIELDS}]
4:  mov r9d, [rbx + {A_SPINS}]
5:  mov eax, [rbx + {A_STATE}]
    cmp eax, {EVENT}
    jne changed
    test r9d, r9d
    jz 6f
    pause
    dec r9d
    jmp 5b
6:  test r8d, r8d
    jz 7f
    dec r8d
    mov eax, 24                         // sched_yield
    syscall
    jmp 4b
7:  mov eax, {EVENT}
    mov ecx, {EVENT} + {SLEEP}
    lock cmpxchg [rbx + {A_STATE}], ecx
    jne changed
asleep:
    lea rdi, [rbx + {A_STATE}]
    xor esi, esi
    mov edx, {EVENT} + {SLEEP}
    xor r10d, r10d
    mov eax, 202
    syscall
    mov eax, [rbx + {A_STATE}]
changed:
    cmp eax, {EVENT} + {SLEEP}
    je asleep
    cmp eax, {EVENT}
    je await
    mov ecx, eax
    and ecx, -1 - {SLEEP}
    cmp ecx, {RUN}
    je leave
    cmp ecx, {EXIT}
    je thread_exit
    cmp ecx, {SAVE}
    je save_extended
    cmp ecx, {RSEQ}
    je rseq_order
    mov eax, 24                         // nothing the sentry ever writes
    syscall
    mov eax, [rbx + {A_STATE}]
    jmp changed
thread_exit:
    xor edi, edi
    mov eax, 60
    syscall
    jmp thread_exit

// Loads the general registers from the frame whose ucontext is rsi, on whose far side rsp is. The frame stays intact.
.macro RETURN
    mov rax, [rsi + {UC_RIP}]
    mov [rsi - 136], rax
    mov qword ptr [rsi - 128], 0x33
    mov rax, [rsi + {UC_EFLAGS}]
    mov [rsi - 120], rax
    mov rax, [rsi + {UC_RSP}]
    mov [rsi - 112], rax
    mov qword ptr [rsi - 104], 0x2b
    GENERAL
    mov rcx, [rsi + {UC_RCX}]
    mov r11, [rsi + {UC_R8} + 24]
    mov rsi, [rsi + {UC_RSI}]
    iretq
.endm
.macro GENERAL
    mov r8, [rsi + {UC_R8}]
    mov r9, [rsi + {UC_R8} + 8]
    mov r10, [rsi + {UC_R8} + 16]
    mov r12, [rsi + {UC_R8} + 32]
    mov r13, [rsi + {UC_R8} + 40]
    mov r14, [rsi + {UC_R8} + 48]
    mov r15, [rsi + {UC_R8} + 56]
    mov rdi, [rsi + {UC_RDI}]
    mov rbp, [rsi + {UC_RBP}]
    mov rbx, [rsi + {UC_RBX}]
    mov rdx, [rsi + {UC_RDX}]
    mov rax, [rsi + {UC_RAX}]
.endm
// Loads the extended state of the frame whose ucontext is \uc.
.macro EXTENDED uc
    mov rcx, [\uc + {UC_FPSTATE}]
    mov eax, -1
    mov edx, -1
    xrstor64 [rcx]
.endm
// Loads the segment bases that the sentry ordered. Clobbers rax; leaves the orders in ecx.
.macro BASES
    mov ecx, [rbx + {A_RESUME}]
    test ecx, {RESUME_FS}
    jz 101f
    mov rax, [rbx + {A_FS_BASE}]
    wrfsbase rax
101: test ecx, {RESUME_GS}
    jz 102f
    mov rax, [rbx + {A_GS_BASE}]
    wrgsbase rax
102:
.endm

// The host's rseq(2) with what the sentry put into the area: the guest's own area of restartable sequences.
.macro CALL_RSEQ
    mov rdi, [rbx + {A_RSEQ}]
    mov esi, [rbx + {A_RSEQ_LEN}]
    mov edx, [rbx + {A_RSEQ_FLAGS}]
    mov r10d, [rbx + {A_RSEQ_SIG}]
    mov eax, 334
    syscall
    mov [rbx + {A_RSEQ_RESULT}], eax
.endm
rseq_order:
    CALL_RSEQ
    jmp post_state

// Copies out what the sentry put into the area, then continues.
leave:
    test dword ptr [rbx + {A_RESUME}], {RESUME_RSEQ}
    jz leave_out
    CALL_RSEQ
leave_out:
    mov r9d, [rbx + {A_OUT_LEN}]
    test r9d, r9d
    jz leave_begin
    lea r8, [rbx + {A_OUT_TABLE}]
    add r9, r8
103: mov rdi, [r8]
    mov ecx, [r8 + 8]
    mov esi, [r8 + 12]
    add rsi, rbx
out_copy:
    rep movsb
    add r8, {OUT_ENTRY}
    cmp r8, r9
    jb 103b
    mov dword ptr [rbx + {A_OUT_LEN}], 0

// Continues guest code. A kick that lands between the labels is undone: the event is posted again as a kick.
leave_begin:
    mov rsi, [rbx + {A_UC}]
    cmp dword ptr [rbx + {A_KICK}], 0
    jne repost
    BASES
    test ecx, {RESUME_SIMPLE}
    jz 8f
    GENERAL
    mov rsp, [rsi + {UC_RSP}]
    mov rcx, [rsi + {UC_RIP}]
    mov r11, [rsi + {UC_EFLAGS}]
    mov rsi, [rsi + {UC_RSI}]
    jmp rcx
8:  lea rsp, [rsi - 136]
    test ecx, {RESUME_LIVE}
    jnz 9f
    EXTENDED rsi
9:  RETURN
leave_end:

// The copy out met a bad page. rdx: the inner frame, with the extended state.
out_failed:
    mov edi, {SIG_OUT_FAILED}
    jmp 104f
// The kick hit a thread whose extended state may have been live: the host put it into the inner frame, rdx.
repost_inner:
    mov edi, {KICK_SIGNAL}
104: mov rsi, rdx
    EXTENDED rsi
    jmp 105f
repost:
    mov edi, {KICK_SIGNAL}
105: // The bases to leave with may not be loaded yet: posting reads them back from the processor.
    BASES
    mov rdx, [rbx + {A_UC}]
    jmp post

// A signal in the stub. rbx: area, rdx: inner ucontext, edi: signal.
in_stub:
    mov rax, [rdx + {UC_RIP}]
    cmp edi, {KICK_SIGNAL}
    jne 13f
    // On the way from a patched site, with the guest's registers but rcx and r11: the sentry goes back to the site.
    lea rcx, [rip + tegmen_stub_fast_begin]
    cmp rax, rcx
    jb 11f
    lea rcx, [rip + tegmen_stub_fast_commit]
    cmp rax, rcx
    jb post
11: lea rcx, [rip + leave_begin]
    cmp rax, rcx
    jb 12f
    lea rcx, [rip + leave_end]
    cmp rax, rcx
    jb repost_inner
12: mov rsi, rdx                        // elsewhere: the flag is seen before guest code continues
    lea rsp, [rsi - 136]
    EXTENDED rsi
    RETURN
    // A guest that steps itself (TF) steps through the way from a patched site unseen.
13: lea rcx, [rip + window_copy]
    cmp rax, rcx
    je window_failed
    lea rcx, [rip + bulk_copy]
    cmp rax, rcx
    je window_failed
    lea rcx, [rip + header_copy]
    cmp rax, rcx
    je window_failed
    lea rcx, [rip + vector_copy]
    cmp rax, rcx
    je window_failed
    lea rcx, [rip + gather_copy]
    cmp rax, rcx
    je window_failed
    lea rcx, [rip + out_copy]
    cmp rax, rcx
    je out_failed
    cmp edi, 5
    jne stub_fault
    lea rcx, [rip + tegmen_stub_fast_begin]
    cmp rax, rcx
    jb stub_fault
    lea rcx, [rip + fast_end]
    cmp rax, rcx
    jb 12b
stub_fault:
    mov edi, {SIG_STUB_FAULT}
    jmp post

// ---------------------------------------------------------------- patched sites
// eax: call number, rcx: address after the call, as after `syscall`; all else as in the guest. No stack.
.globl tegmen_stub_fast_begin
.hidden tegmen_stub_fast_begin
tegmen_stub_fast_begin:
// The area, in r11, from the GS base; a guest that uses GS for itself makes the call that lies at the site.
.macro FIND_AREA
    rdgsbase r11
    shr r11, 32
    cmp r11d, {AREA_TOP}
    jne fast_slow
    rdgsbase r11
.endm
.macro ANSWER name, value
.globl \name
.hidden \name
\name:
    FIND_AREA
    cmp dword ptr [r11 + {A_LOCAL}], 0
    je fast_event
    cmp dword ptr [r11 + \value], -1
    je fast_event
    inc qword ptr [r11 + {A_LOCAL_CALLS}]
    mov eax, [r11 + \value]
    jmp rcx
.endm
    ANSWER tegmen_stub_getpid, {A_PID}
    ANSWER tegmen_stub_gettid, {A_TID}
    ANSWER tegmen_stub_getppid, {A_PPID}
    ANSWER tegmen_stub_getuid, {A_UID}
    ANSWER tegmen_stub_geteuid, {A_EUID}
    ANSWER tegmen_stub_getgid, {A_GID}
    ANSWER tegmen_stub_getegid, {A_EGID}
fast_slow:
    lea r11, [rcx - 2]
    jmp r11
.globl tegmen_stub_fast
.hidden tegmen_stub_fast
tegmen_stub_fast:
    FIND_AREA
fast_event:
    mov [r11 + {A_FAST} + {UC_RSP}], rsp
    mov dword ptr [r11 + {A_WINDOW_LEN}], 0
    jmp tegmen_stub_fast_commit
// Likewise, for calls that point to what the sentry will read first.
.macro ENTRY name, kind
.globl \name
.hidden \name
\name:
    FIND_AREA
    mov [r11 + {A_FAST} + {UC_RSP}], rsp
    mov dword ptr [r11 + {A_WINDOW_LEN}], \kind
    jmp tegmen_stub_fast_commit
.endm
    ENTRY tegmen_stub_fast_first, {K_FIRST}
    ENTRY tegmen_stub_fast_second, {K_SECOND}
    ENTRY tegmen_stub_fast_third, {K_THIRD}
    ENTRY tegmen_stub_fast_fourth, {K_FOURTH}
    ENTRY tegmen_stub_fast_buffer, {K_BUFFER}
    ENTRY tegmen_stub_fast_vector, {K_VECTOR}
    ENTRY tegmen_stub_fast_message, {K_MESSAGE}
    ENTRY tegmen_stub_fast_header, {K_HEADER}
    ENTRY tegmen_stub_fast_any, {K_ANY}
.globl tegmen_stub_fast_commit
.hidden tegmen_stub_fast_commit
tegmen_stub_fast_commit:
    // From here on the event will be posted, whatever comes in between.
    lea rsp, [r11 + {A_FAST} - 128]
    pushfq
    pop qword ptr [r11 + {A_FAST} + {UC_EFLAGS}]
    push 2
    popfq
    mov [r11 + {A_FAST} + {UC_R8}], r8
    mov [r11 + {A_FAST} + {UC_R8} + 8], r9
    mov [r11 + {A_FAST} + {UC_R8} + 16], r10
    mov [r11 + {A_FAST} + {UC_R8} + 32], r12
    mov [r11 + {A_FAST} + {UC_R8} + 40], r13
    mov [r11 + {A_FAST} + {UC_R8} + 48], r14
    mov [r11 + {A_FAST} + {UC_R8} + 56], r15
    mov [r11 + {A_FAST} + {UC_RDI}], rdi
    mov [r11 + {A_FAST} + {UC_RSI}], rsi
    mov [r11 + {A_FAST} + {UC_RBP}], rbp
    mov [r11 + {A_FAST} + {UC_RBX}], rbx
    mov [r11 + {A_FAST} + {UC_RDX}], rdx
    mov [r11 + {A_FAST} + {UC_RAX}], rax
    mov [r11 + {A_FAST} + {UC_RCX}], rcx
    mov [r11 + {A_FAST} + {UC_RIP}], rcx
    mov rax, [r11 + {A_FAST} + {UC_EFLAGS}]
    mov [r11 + {A_FAST} + {UC_R8} + 24], rax
    mov rbx, r11
    mov eax, [rbx + {A_WINDOW_LEN}]
    cmp eax, {K_ANY}
    jne 15f
    mov rcx, [rbx + {A_FAST} + {UC_RAX}]
    cmp rcx, {KINDS_LEN}
    jae no_window
    lea rax, [rip + stub_data + {KINDS}]
    movzx eax, byte ptr [rax + rcx]
15: test eax, eax
    jz no_window
    cmp eax, {K_BUFFER}
    je buffer
    cmp eax, {K_VECTOR}
    jae vector
    cmp eax, {K_FIRST}
    cmove rsi, rdi
    cmp eax, {K_THIRD}
    cmove rsi, rdx
    cmp eax, {K_FOURTH}
    cmove rsi, r10
    test rsi, rsi
    jz no_window
    // Up to the end of the page: one page is readable or not, so the copy fails at its first byte or not at all.
    mov ecx, esi
    neg ecx
    and ecx, 0xfff
    dec ecx
    cmp ecx, {WINDOW_MAX} - 1
    jb 14f
    mov ecx, {WINDOW_MAX} - 1
14: inc ecx
    lea rdi, [rbx + {A_WINDOW}]
    mov eax, ecx
window_copy:
    rep movsb
window_copied:
    mov [rbx + {A_WINDOW_LEN}], eax
window_done:
    lea rdx, [rbx + {A_FAST}]
    mov edi, {SIG_FAST}
fast_end:
    jmp post
// The first bytes of a buffer are copied, as many as there is room for, or none.
buffer:
    mov eax, {BULK_MAX}
    cmp rdx, rax
    cmovb eax, edx
    lea rdi, [rbx + {A_WINDOW}]
    lea r8, [rbx + {A_BULK}]
    cmp eax, {WINDOW_MAX}
    cmova rdi, r8
    mov ecx, eax
bulk_copy:
    rep movsb
    jmp window_copied
// An array of buffers, at rsi, as many as rdx says, and what is in them; or the header of a message, at rsi, with one.
vector:
    mov r11d, eax
    mov dword ptr [rbx + {A_GATHERED}], 0
    cmp eax, {K_VECTOR}
    je 16f
    lea rdi, [rbx + {A_WINDOW}]
    mov ecx, {HEADER_LEN}
header_copy:
    rep movsb
    mov rsi, [rbx + {A_WINDOW} + {HEADER_VECTOR}]
    mov rdx, [rbx + {A_WINDOW} + {HEADER_VECTOR} + 8]
16: cmp rdx, {VECTOR_MAX}
    ja no_window
    mov ecx, edx
    shl ecx, 4
    mov eax, ecx
    lea rdi, [rbx + {A_WINDOW} + {VECTOR_AT}]
vector_copy:
    rep movsb
    cmp r11d, {K_HEADER}
    je window_copied
    lea r9, [rbx + {A_WINDOW} + {VECTOR_AT}]
    lea rdi, [rbx + {A_BULK}]
    mov r8d, {BULK_MAX}
17: test edx, edx
    jz 18f
    mov rsi, [r9]
    mov rcx, [r9 + 8]
    cmp rcx, r8
    cmova rcx, r8                       // as far as there is room
    sub r8, rcx
gather_copy:
    rep movsb
    add r9, 16
    dec edx
    jmp 17b
18: mov ecx, {BULK_MAX}
    sub ecx, r8d
    mov [rbx + {A_GATHERED}], ecx
    jmp window_copied
// The copy met a bad page. rdx: the inner frame, with the extended state.
window_failed:
    mov rsi, rdx
    EXTENDED rsi
no_window:
    mov dword ptr [rbx + {A_WINDOW_LEN}], 0
    jmp window_done

// The sentry wants the extended state, which is live in the processor.
save_extended:
    mov eax, -1
    mov edx, -1
    xsave64 [rbx + {A_FAST_XSTATE}]
    jmp post_state

// Never reached: the filter traps rt_sigreturn. The host wants a restorer nevertheless.
.globl tegmen_stub_restorer
.hidden tegmen_stub_restorer
tegmen_stub_restorer:
    ud2

.globl tegmen_stub_code_end
.hidden tegmen_stub_code_end
tegmen_stub_code_end:
.org tegmen_stub_start + {STUB_CODE}
stub_data:
.popsection
