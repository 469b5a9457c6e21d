//! The line discipline by itself: what is typed, what is read, what is shown.

use super::*;
use crate::tty::termios::Output;

/// Types `bytes`; returns what the terminal shows.
fn typed(tty: &mut LineDiscipline, bytes: &[u8]) -> String {
    let mut raised = Vec::new();
    assert_eq!(tty.receive(bytes, &mut raised), bytes.len());
    shown(tty)
}

fn shown(tty: &mut LineDiscipline) -> String {
    let bytes: Vec<u8> = tty.output.queue.drain(..).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn raw() -> LineDiscipline {
    let mut tty = LineDiscipline::default();
    let mut termios = *tty.termios();
    termios.local = Local::empty();
    termios.input = Input::empty();
    termios.output = Output::empty();
    tty.set_termios(termios);
    tty
}

fn change(tty: &mut LineDiscipline, change: impl FnOnce(&mut Termios)) {
    let mut termios = *tty.termios();
    change(&mut termios);
    tty.set_termios(termios);
}

#[test]
fn a_line_is_echoed_and_read_with_its_newline() {
    let mut tty = LineDiscipline::default();
    assert_eq!(typed(&mut tty, b"ls"), "ls");
    assert!(!tty.can_read(1));
    assert_eq!(typed(&mut tty, b"\r"), "\r\n");
    assert!(tty.can_read(1));
    assert_eq!(tty.readable_bytes(), 3);
    assert_eq!(tty.take(100), b"ls\n");
    assert!(!tty.can_read(1));
}

#[test]
fn a_read_gets_one_line_at_a_time_and_a_short_read_a_part() {
    let mut tty = LineDiscipline::default();
    typed(&mut tty, b"one\ntwo\n");
    assert_eq!(tty.take(2), b"on");
    assert_eq!(tty.take(100), b"e\n");
    assert_eq!(tty.take(100), b"two\n");
}

#[test]
fn end_of_file_ends_a_read_without_a_byte() {
    let mut tty = LineDiscipline::default();
    assert_eq!(typed(&mut tty, b"abc\x04"), "abc");
    assert_eq!(tty.take(3), b"abc");
    assert!(!tty.can_read(1), "the end of file went with the bytes before it");
    typed(&mut tty, b"\x04");
    assert!(tty.can_read(1));
    assert_eq!(tty.take(100), b"");
    assert!(!tty.can_read(1));
}

#[test]
fn erase_takes_back_one_character_visibly() {
    let mut tty = LineDiscipline::default();
    assert_eq!(typed(&mut tty, b"ab\x7f"), "ab\x08 \x08");
    assert_eq!(typed(&mut tty, b"\x01\x7f"), "^A\x08 \x08\x08 \x08");
    assert_eq!(
        typed(&mut tty, b"\x7f\x7f\x7f"),
        "\x08 \x08",
        "nothing left to erase"
    );
    typed(&mut tty, b"x\n\x7f");
    assert_eq!(tty.take(10), b"x\n", "a finished line cannot be erased");
}

#[test]
fn erase_of_a_tab_goes_back_to_where_it_began() {
    let mut tty = LineDiscipline::default();
    tty.write(b"$ ");
    assert_eq!(typed(&mut tty, b"ab\t"), "$ ab\t");
    assert_eq!(typed(&mut tty, b"\x7f"), "\x08\x08\x08\x08");
    assert_eq!(
        typed(&mut tty, b"\tc\td\t\x7f"),
        format!("\tc\td\t{}", "\x08".repeat(7))
    );
}

#[test]
fn erase_takes_whole_utf8_characters() {
    let mut tty = LineDiscipline::default();
    change(&mut tty, |termios| termios.input |= Input::IUTF8);
    assert_eq!(typed(&mut tty, "aé\x7f".as_bytes()), "aé\x08 \x08");
    typed(&mut tty, b"\n");
    assert_eq!(tty.take(10), b"a\n");
}

#[test]
fn word_erase_and_kill_take_back_more() {
    let mut tty = LineDiscipline::default();
    assert_eq!(
        typed(&mut tty, b"do it \x17"),
        "do it \x08 \x08\x08 \x08\x08 \x08"
    );
    assert_eq!(typed(&mut tty, b"\x15"), "\x08 \x08\x08 \x08\x08 \x08");
    typed(&mut tty, b"ok\n");
    assert_eq!(tty.take(10), b"ok\n");
    change(&mut tty, |termios| termios.local.remove(Local::ECHOKE));
    assert_eq!(typed(&mut tty, b"no\x15"), "no^U\r\n");
    change(&mut tty, |termios| termios.local.remove(Local::ECHO));
    assert_eq!(typed(&mut tty, b"no\x15yes\n"), "");
    assert_eq!(tty.take(10), b"yes\n");
}

#[test]
fn hard_copy_terminals_see_erased_characters_between_slashes() {
    let mut tty = LineDiscipline::default();
    change(&mut tty, |termios| termios.local |= Local::ECHOPRT);
    assert_eq!(typed(&mut tty, b"abc\x7f\x7fd"), "abc\\cb/d");
}

#[test]
fn the_next_character_is_taken_literally_after_lnext() {
    let mut tty = LineDiscipline::default();
    let mut raised = Vec::new();
    tty.receive(b"\x16\x03", &mut raised);
    assert_eq!(raised, []);
    assert_eq!(shown(&mut tty), "^\x08^C");
    typed(&mut tty, b"\n");
    assert_eq!(tty.take(10), b"\x03\n");
}

#[test]
fn reprint_shows_the_line_again() {
    let mut tty = LineDiscipline::default();
    assert_eq!(typed(&mut tty, b"ab\x12"), "ab^R\r\nab");
}

#[test]
fn signals_flush_what_was_typed_and_are_echoed() {
    let mut tty = LineDiscipline::default();
    let mut raised = Vec::new();
    tty.write(b"pending output");
    tty.receive(b"half a line\x03", &mut raised);
    assert_eq!(raised, [Raised::Interrupt]);
    assert_eq!(shown(&mut tty), "^C");
    assert!(tty.notices.flushed_input && tty.notices.flushed_output);
    raised.clear();
    change(&mut tty, |termios| termios.local |= Local::NOFLSH);
    tty.receive(b"kept\x1a\x1c\n", &mut raised);
    assert_eq!(raised, [Raised::Suspend, Raised::Quit]);
    assert_eq!(tty.take(10), b"kept\n");
}

#[test]
fn without_isig_control_c_is_a_byte() {
    let mut tty = raw();
    let mut raised = Vec::new();
    tty.receive(b"\x03\x1a\r", &mut raised);
    assert_eq!(raised, []);
    assert_eq!(tty.take(10), b"\x03\x1a\r");
    assert_eq!(shown(&mut tty), "");
}

#[test]
fn stop_holds_echo_and_start_lets_it_go() {
    let mut tty = LineDiscipline::default();
    assert_eq!(typed(&mut tty, b"a\x13b"), "a");
    assert!(tty.stopped());
    assert_eq!(tty.notices.stopped, Some(true));
    assert_eq!(typed(&mut tty, b"\x11"), "b");
    assert!(!tty.stopped());
    assert_eq!(tty.notices.stopped, Some(false));
    typed(&mut tty, b"\n");
    assert_eq!(tty.take(10), b"ab\n");
}

#[test]
fn a_stop_by_call_is_not_undone_by_typing() {
    let mut tty = LineDiscipline::default();
    change(&mut tty, |termios| termios.input |= Input::IXANY);
    tty.stop(true);
    typed(&mut tty, b"x\x11");
    assert!(tty.stopped());
    tty.start_by_call();
    assert!(!tty.stopped());
    tty.stop(false);
    typed(&mut tty, b"y");
    assert!(!tty.stopped(), "any character restarts with IXANY");
}

#[test]
fn turning_flow_control_off_starts_output() {
    let mut tty = LineDiscipline::default();
    typed(&mut tty, b"\x13");
    change(&mut tty, |termios| termios.input.remove(Input::IXON));
    assert!(!tty.stopped());
}

#[test]
fn raw_reads_wait_for_min_bytes() {
    let mut tty = raw();
    typed(&mut tty, b"ab");
    assert!(tty.can_read(2) && !tty.can_read(3));
    assert_eq!(tty.readable_bytes(), 2);
    assert_eq!(tty.take(1), b"a");
    assert_eq!(tty.take(10), b"b");
}

#[test]
fn leaving_canonical_mode_makes_half_lines_readable() {
    let mut tty = LineDiscipline::default();
    typed(&mut tty, b"half");
    change(&mut tty, |termios| termios.local.remove(Local::ICANON));
    assert!(tty.can_read(4));
    typed(&mut tty, b"+");
    change(&mut tty, |termios| termios.local |= Local::ICANON);
    assert!(tty.can_read(1), "what is there is one piece");
    assert_eq!(tty.take(10), b"half+");
}

#[test]
fn carriage_returns_and_newlines_are_mapped_as_told() {
    let mut tty = LineDiscipline::default();
    change(&mut tty, |termios| termios.input = Input::IGNCR);
    typed(&mut tty, b"a\r\n");
    assert_eq!(tty.take(10), b"a\n");
    change(&mut tty, |termios| {
        termios.input = Input::INLCR;
        termios.local.remove(Local::ICANON);
    });
    typed(&mut tty, b"\n");
    assert_eq!(tty.take(10), b"\r");
}

#[test]
fn other_ends_of_line_are_kept_in_the_line() {
    let mut tty = LineDiscipline::default();
    change(&mut tty, |termios| termios.chars[Special::Eol as usize] = b';');
    assert_eq!(typed(&mut tty, b"a;b"), "a;b");
    assert_eq!(tty.take(10), b"a;");
    assert!(!tty.can_read(1));
}

#[test]
fn echonl_shows_only_newlines() {
    let mut tty = LineDiscipline::default();
    change(&mut tty, |termios| {
        termios.local.remove(Local::ECHO);
        termios.local |= Local::ECHONL;
    });
    assert_eq!(typed(&mut tty, b"secret\n"), "\r\n");
}

#[test]
fn output_is_processed_only_with_opost() {
    let mut tty = LineDiscipline::default();
    tty.write(b"a\tb\n");
    assert_eq!(shown(&mut tty), "a\tb\r\n");
    change(&mut tty, |termios| termios.output |= Output::XTABS);
    tty.write(b"a\tb");
    assert_eq!(shown(&mut tty), "a       b");
    change(&mut tty, |termios| termios.output = Output::OPOST | Output::OCRNL);
    tty.write(b"\r\n");
    assert_eq!(shown(&mut tty), "\n\n");
    change(&mut tty, |termios| termios.output = Output::ONLCR);
    tty.write(b"a\nb\n");
    assert_eq!(shown(&mut tty), "a\nb\n");
    change(&mut tty, |termios| {
        termios.output = Output::OPOST | Output::OLCUC | Output::ONOCR
    });
    tty.write(b"\nab\rc");
    assert_eq!(shown(&mut tty), "\nAB\rC");
}

#[test]
fn full_input_is_refused_but_a_line_can_always_be_ended() {
    let mut tty = raw();
    let mut raised = Vec::new();
    let taken = tty.receive(&vec![b'x'; 2 * INPUT_MAX], &mut raised);
    assert_eq!(taken, INPUT_MAX - 1);
    assert!(!tty.has_room());
    tty.take(10);
    assert!(tty.has_room());

    let mut tty = LineDiscipline::default();
    let long = vec![b'x'; 2 * INPUT_MAX];
    assert_eq!(tty.receive(&long, &mut raised), long.len());
    assert_eq!(tty.receive(b"\n", &mut raised), 1);
    let line = tty.take(2 * INPUT_MAX);
    assert_eq!(line.len(), INPUT_MAX - 1);
    assert_eq!(line.last(), Some(&b'\n'));
}

#[test]
fn flushing_drops_one_direction() {
    let mut tty = LineDiscipline::default();
    typed(&mut tty, b"line\n");
    tty.write(b"out");
    tty.flush_input();
    assert!(!tty.can_read(1));
    assert_eq!(shown(&mut tty), "out");
    tty.write(b"out");
    tty.flush_output();
    assert_eq!(shown(&mut tty), "");
}

#[test]
fn eighth_bits_and_case_are_changed_as_told() {
    let mut tty = LineDiscipline::default();
    change(&mut tty, |termios| termios.input |= Input::ISTRIP | Input::IUCLC);
    typed(&mut tty, b"\xc1B\n");
    assert_eq!(tty.take(10), b"ab\n");
}

#[test]
fn no_input_makes_it_fail() {
    let mut state = 0x1234_5678_u32;
    let mut tty = LineDiscipline::default();
    let mut raised = Vec::new();
    for round in 0..20_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let byte = (state >> 24) as u8;
        tty.receive(&[byte & 0x1f, byte, 0x7f, 9], &mut raised);
        if round % 97 == 0 {
            change(&mut tty, |termios| {
                termios.local = Local::from_bits_retain(state >> 8 & 0xffff);
                termios.input = Input::from_bits_retain(state >> 4 & 0x7fff);
                termios.output = Output::from_bits_retain(state >> 6 & 0xfff);
            });
        }
        if tty.can_read(1) && byte & 1 == 0 {
            tty.take(usize::from(byte));
        }
        tty.output.queue.clear();
        raised.clear();
        assert!(tty.input.len() < INPUT_MAX && tty.complete <= tty.input.len());
    }
}

#[test]
fn echo_is_bounded_when_nobody_reads_it() {
    let mut tty = LineDiscipline::default();
    let mut raised = Vec::new();
    tty.receive(&[b'x'; 4000], &mut raised);
    for _ in 0..1000 {
        tty.receive(b"\x12", &mut raised);
    }
    assert!(tty.output.queue.len() < ECHO_MAX + 16);
}
