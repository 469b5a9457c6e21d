//! Areas and the calls on them, in a guest on the scripted platform.

use abi::{Errno, PAGE_SIZE, UserAddr};
use platform::Prot;

use super::{Area, AreaFlags, AreaMap, AreaName, Backing, Limits, MAX_AREAS, MapRequest, Place};
use crate::testing::Guest;

const RW: u64 = 3;
const PRIVATE_ANON: u64 = 0x22;
const NO_FD: u64 = u64::MAX;

fn area(start: u64, pages: u64, prot: Prot) -> Area {
    Area {
        start,
        end: start + pages * PAGE_SIZE,
        prot,
        max_prot: Prot::all(),
        flags: AreaFlags::empty(),
        backing: Backing::Anonymous,
        name: AreaName::None,
    }
}

fn spans(map: &AreaMap) -> Vec<(u64, u64)> {
    map.iter().map(|area| (area.start, area.end)).collect()
}

#[test]
fn neighbours_that_continue_each_other_become_one_area() {
    let mut map = AreaMap::default();
    map.insert(area(0x1000, 1, Prot::READ));
    map.insert(area(0x3000, 1, Prot::READ));
    map.insert(area(0x2000, 1, Prot::READ));
    assert_eq!(spans(&map), [(0x1000, 0x4000)]);
    map.insert(area(0x4000, 1, Prot::WRITE));
    assert_eq!(map.len(), 2);
    assert_eq!((map.total(), map.data()), (0x4000, 0x1000));
}

#[test]
fn removing_the_middle_splits_and_changing_it_back_joins() {
    let mut map = AreaMap::default();
    map.insert(area(0x1000, 5, Prot::READ));
    assert_eq!(map.splits(0x2000, 0x3000), 2);
    map.update(0x2000, 0x3000, |area| area.prot = Prot::empty());
    assert_eq!(
        spans(&map),
        [(0x1000, 0x2000), (0x2000, 0x3000), (0x3000, 0x6000)]
    );
    map.update(0x2000, 0x3000, |area| area.prot = Prot::READ);
    assert_eq!(spans(&map), [(0x1000, 0x6000)]);
    let gone = map.remove(0x3000, 0x4000);
    assert_eq!(gone.len(), 1);
    assert_eq!(spans(&map), [(0x1000, 0x3000), (0x4000, 0x6000)]);
    assert!(!map.covers(0x1000, 0x6000) && map.covers(0x4000, 0x6000));
    assert_eq!(map.total(), 4 * PAGE_SIZE);
}

#[test]
fn gaps_are_found_from_the_top_also_after_what_was_learnt_is_outdated() {
    let mut map = AreaMap::default();
    let (low, high) = (0x1_0000, 0x10_0000);
    let place = |map: &mut AreaMap, pages: u64| {
        let at = map
            .gap_below(pages * PAGE_SIZE, PAGE_SIZE, (low, high), true)
            .expect("there is room");
        map.insert(area(
            at,
            pages,
            if pages.is_multiple_of(2) {
                Prot::READ
            } else {
                Prot::WRITE
            },
        ));
        at
    };
    let first = place(&mut map, 1);
    assert_eq!(first, high - PAGE_SIZE);
    let second = place(&mut map, 2);
    let third = place(&mut map, 3);
    assert_eq!((second, third), (first - 0x2000, first - 0x5000));
    map.remove(second, second + 0x2000);
    assert_eq!(place(&mut map, 2), second);
    map.remove(first, first + 0x1000);
    assert_eq!(place(&mut map, 3), third - 0x3000);
    assert_eq!(place(&mut map, 1), first);
    assert_eq!(map.gap_below(high, PAGE_SIZE, (low, high), true), None);
    assert_eq!(map.gap_above(PAGE_SIZE, PAGE_SIZE, low, high), Some(low));
}

#[test]
fn mapping_and_unmapping_give_the_same_address_again() {
    let guest = Guest::new();
    let map = |len: u64| guest.call("mmap", &[0, len, RW, PRIVATE_ANON, NO_FD, 0]);
    let first = map(0x5000).unwrap();
    guest.task.copy_out(UserAddr(first + 0x4fff), b"x").unwrap();
    guest.call("munmap", &[first, 0x5000]).unwrap();
    assert_eq!(map(0x5000).unwrap(), first);
    assert_eq!(guest.read(UserAddr(first + 0x4fff), 1), [0]);
    guest.call("munmap", &[first + 0x1000, 0x1000]).unwrap();
    assert!(guest.task.copy_out(UserAddr(first + 0x1000), b"x").is_err());
    guest.task.copy_out(UserAddr(first + 0x2000), b"x").unwrap();
}

#[test]
fn mmap_checks_its_arguments_in_linux_order() {
    let guest = Guest::new();
    let mmap = |args: [u64; 6]| guest.call("mmap", &args);
    assert_eq!(mmap([0, 0, RW, PRIVATE_ANON, NO_FD, 0]), Err(Errno::EINVAL));
    assert_eq!(mmap([0, 1, RW, PRIVATE_ANON, NO_FD, 1]), Err(Errno::EINVAL));
    assert_eq!(
        mmap([0, u64::MAX, RW, PRIVATE_ANON, NO_FD, 0]),
        Err(Errno::ENOMEM)
    );
    assert_eq!(mmap([0, 1 << 60, RW, PRIVATE_ANON, NO_FD, 0]), Err(Errno::ENOMEM));
    assert_eq!(mmap([0, 1, RW, 0x20, NO_FD, 0]), Err(Errno::EINVAL));
    assert_eq!(mmap([0, 1, RW, 2, 99, 0]), Err(Errno::EBADF));
    assert_eq!(
        mmap([0, 1, RW, PRIVATE_ANON | 0x40000, NO_FD, 0]),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        mmap([0x1001, 1, RW, PRIVATE_ANON | 0x10, NO_FD, 0]),
        Err(Errno::EINVAL)
    );
    assert_eq!(mmap([0, 1, RW, PRIVATE_ANON | 0x10, NO_FD, 0]), Err(Errno::EPERM));
    let taken = mmap([0, 1, RW, PRIVATE_ANON, NO_FD, 0]).unwrap();
    assert_eq!(
        mmap([taken, 1, RW, PRIVATE_ANON | 0x10_0000, NO_FD, 0]),
        Err(Errno::EEXIST)
    );
    let low = mmap([0, 1, RW, PRIVATE_ANON | 0x40, NO_FD, 0]).unwrap();
    assert!(low < 1 << 31);
}

#[test]
fn protection_changes_what_precedes_a_hole_and_reports_it() {
    let guest = Guest::new();
    let at = guest
        .call("mmap", &[0, 0x4000, RW, PRIVATE_ANON, NO_FD, 0])
        .unwrap();
    guest.call("munmap", &[at + 0x2000, 0x1000]).unwrap();
    assert_eq!(guest.call("mprotect", &[at, 0x4000, 1]), Err(Errno::ENOMEM));
    let prot = |at: u64| guest.task.mm_ref().area_at(UserAddr(at)).map(|area| area.prot);
    assert_eq!(prot(at), Some(Prot::READ));
    assert_eq!(prot(at + 0x3000), Some(Prot::READ | Prot::WRITE));
    assert_eq!(guest.call("mprotect", &[at + 1, 0x1000, 1]), Err(Errno::EINVAL));
    assert_eq!(guest.call("mprotect", &[at, 0x1000, 0x100]), Err(Errno::EINVAL));
    guest.call("mseal", &[at, 0x1000, 0]).unwrap();
    assert_eq!(guest.call("mprotect", &[at, 0x1000, 3]), Err(Errno::EPERM));
    assert_eq!(guest.call("munmap", &[at, 0x1000]), Err(Errno::EPERM));
}

#[test]
fn mremap_grows_in_place_moves_and_keeps_the_bytes() {
    let guest = Guest::new();
    let map = |len: u64| guest.call("mmap", &[0, len, RW, PRIVATE_ANON, NO_FD, 0]).unwrap();
    let above = map(0x1000);
    let at = map(0x2000);
    assert_eq!(at, above - 0x2000);
    guest.call("mprotect", &[above, 0x1000, 1]).unwrap();
    guest.task.copy_out(UserAddr(at), b"kept").unwrap();
    assert_eq!(guest.call("mremap", &[at, 0x2000, 0x4000, 0]), Err(Errno::ENOMEM));
    let moved = guest.call("mremap", &[at, 0x2000, 0x4000, 1]).unwrap();
    assert_eq!(guest.read(UserAddr(moved), 4), b"kept");
    assert!(guest.task.mm_ref().area_at(UserAddr(at)).is_none());
    guest.call("munmap", &[above, 0x1000]).unwrap();
    assert_eq!(guest.call("mremap", &[moved, 0x4000, 0x1000, 0]), Ok(moved));
    assert_eq!(guest.call("mremap", &[moved, 0x1000, 0x3000, 0]), Ok(moved));
    let target = map(0x3000);
    let fixed = guest.call("mremap", &[moved, 0x3000, 0x3000, 3, target]).unwrap();
    assert_eq!(
        (fixed, guest.read(UserAddr(fixed), 4)),
        (target, b"kept".to_vec())
    );
    assert_eq!(
        guest.call("mremap", &[moved, 0x1000, 0x1000, 1]),
        Err(Errno::EFAULT)
    );
    assert_eq!(guest.call("mremap", &[target, 0, 0x1000, 1]), Err(Errno::EINVAL));
    assert_eq!(
        guest.call("mremap", &[target, 0x1000, 0x1000, 2]),
        Err(Errno::EINVAL)
    );
}

#[test]
fn the_heap_moves_within_its_limits_only() {
    let guest = Guest::new();
    let mm = guest.task.mm_ref();
    mm.set_layout(|layout| (layout.start_brk, layout.brk) = (0x80_0000, 0x80_0000));
    assert_eq!(guest.call("brk", &[0]), Ok(0x80_0000));
    assert_eq!(guest.call("brk", &[0x80_1234]), Ok(0x80_1234));
    guest.task.copy_out(UserAddr(0x80_1fff), b"x").unwrap();
    assert_eq!(guest.call("brk", &[0x80_0001]), Ok(0x80_0001));
    assert!(guest.task.copy_out(UserAddr(0x80_1000), b"x").is_err());
    assert_eq!(guest.call("brk", &[0x7f_0000]), Ok(0x80_0001));
    guest.task.group.state.lock().rlimits[2] = (0x2000, 0x2000);
    assert_eq!(guest.call("brk", &[0x90_0000]), Ok(0x80_0001));
}

#[test]
fn a_mapping_may_be_larger_than_the_control_groups_memory_but_not_than_the_machines() {
    let guest = Guest::new();
    guest.task.kernel.limits.write().memory = Some(0x10_0000);
    let map = |len: u64| guest.call("mmap", &[0, len, RW, PRIVATE_ANON, NO_FD, 0]);
    assert!(map(0x20_0000).is_ok());
    let machine = guest.task.kernel.config.total_memory;
    assert_eq!(map(machine + PAGE_SIZE), Err(Errno::ENOMEM));
}

#[test]
fn limits_count_address_space_data_and_locked_bytes() {
    let guest = Guest::new();
    guest.become_user(1000, 1000);
    let mm = guest.task.mm_ref();
    let map = |len: u64, prot: u64| guest.call("mmap", &[0, len, prot, PRIVATE_ANON, NO_FD, 0]);
    guest.task.group.state.lock().rlimits[9].0 = mm.totals().size + 0x2000;
    assert_eq!(map(0x3000, RW), Err(Errno::ENOMEM));
    let at = map(0x2000, RW).unwrap();
    guest.task.group.state.lock().rlimits[9].0 = u64::MAX;
    guest.task.group.state.lock().rlimits[2].0 = mm.totals().data;
    assert_eq!(map(0x1000, RW), Err(Errno::ENOMEM));
    assert!(map(0x1000, 1).is_ok());
    guest.task.group.state.lock().rlimits[8].0 = 0x1000;
    assert_eq!(guest.call("mlock", &[at, 0x2000]), Err(Errno::ENOMEM));
    guest.call("mlock", &[at, 1]).unwrap();
    assert_eq!(mm.totals().locked, 0x1000);
    assert_eq!(guest.call("madvise", &[at, 0x1000, 4]), Err(Errno::EINVAL));
    guest.call("munlock", &[at, 0x1000]).unwrap();
    assert_eq!(mm.totals().locked, 0);
}

#[test]
fn too_many_areas_are_refused() {
    let guest = Guest::new();
    let mm = guest.task.mm_ref();
    let mut failed = None;
    for index in 0..=MAX_AREAS as u64 {
        let prot = if index % 2 == 0 { Prot::READ } else { Prot::WRITE };
        let request = MapRequest::anonymous(Place::Fixed(0x1000_0000 + index * PAGE_SIZE), PAGE_SIZE, prot);
        if let Err(errno) = mm.map(request, &Limits::NONE) {
            failed = Some(errno);
            break;
        }
    }
    assert_eq!(failed, Some(Errno::ENOMEM));
}

#[test]
fn advice_skips_holes_and_is_noted_where_it_matters() {
    let guest = Guest::new();
    let at = guest
        .call("mmap", &[0, 0x3000, RW, PRIVATE_ANON, NO_FD, 0])
        .unwrap();
    assert_eq!(guest.call("madvise", &[at, 0x1000, 99]), Err(Errno::EINVAL));
    assert_eq!(guest.call("madvise", &[at + 1, 0x1000, 4]), Err(Errno::EINVAL));
    assert_eq!(guest.call("madvise", &[at, 0x1000, 9]), Err(Errno::EINVAL));
    guest.call("madvise", &[at, 0x1000, 10]).unwrap();
    guest.call("munmap", &[at + 0x1000, 0x1000]).unwrap();
    assert_eq!(guest.call("madvise", &[at, 0x3000, 4]), Err(Errno::ENOMEM));
    let child = guest.task.mm_ref().fork().unwrap();
    assert!(child.area_at(UserAddr(at)).is_none());
    assert!(child.area_at(UserAddr(at + 0x2000)).is_some());
}

#[test]
fn stacks_grow_down_to_their_limit() {
    let guest = Guest::new();
    let mm = guest.task.mm_ref();
    let mut request = MapRequest::anonymous(Place::Fixed(0x4000_0000), 0x2000, Prot::READ | Prot::WRITE);
    request.flags = AreaFlags::GROWSDOWN;
    mm.map(request, &Limits::NONE).unwrap();
    let limit = 0x10_0000;
    assert!(!mm.grow_stack(UserAddr(0x4000_2000 - 0x10_1000), limit, &Limits::NONE));
    assert!(mm.grow_stack(UserAddr(0x4000_2000 - 0x8_0000), limit, &Limits::NONE));
    assert!(mm.area_at(UserAddr(0x4000_2000 - 0x8_0000)).is_some());
    assert!(!mm.grow_stack(UserAddr(0x4001_0000), limit, &Limits::NONE));
}

#[test]
fn books_and_memory_agree_after_any_calls() {
    const BASE: u64 = 0x2000_0000;
    const PAGES: u64 = 48;
    let guest = Guest::new();
    let mm = guest.task.mm_ref();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..4000 {
        let at = BASE + random(PAGES) * PAGE_SIZE;
        let other = BASE + random(PAGES) * PAGE_SIZE;
        let len = (1 + random(8)) * PAGE_SIZE;
        let new_len = (1 + random(8)) * PAGE_SIZE;
        let prot = random(4);
        let call = random(6);
        let _ = match call {
            0 | 1 => guest.call("mmap", &[at, len, prot, PRIVATE_ANON | 0x10, NO_FD, 0]),
            2 => guest.call("munmap", &[at, len]),
            3 => guest.call("mprotect", &[at, len, prot]),
            4 => guest.call("mremap", &[at, len, new_len, 3, other]),
            _ => guest.call("mremap", &[at, len, new_len, 0]),
        };
        let mut end = 0;
        for area in mm.areas() {
            assert!(area.start < area.end && area.start >= end, "areas overlap");
            end = area.end;
        }
        let there = mm
            .space
            .mincore(UserAddr(BASE), (PAGES + 16) * PAGE_SIZE)
            .unwrap();
        for (index, resident) in (0..).zip(there) {
            let page = BASE + index * PAGE_SIZE;
            let known = mm.area_at(UserAddr(page)).is_some();
            assert_eq!(
                known,
                resident == 1,
                "{page:#x} after {call} {at:#x} {len:#x} {new_len:#x} {other:#x}"
            );
        }
    }
    for area in mm.areas() {
        let there = mm.space.mincore(UserAddr(area.start), area.len()).unwrap();
        assert!(
            there.iter().all(|page| *page == 1),
            "{:#x}-{:#x}",
            area.start,
            area.end
        );
    }
    let sum: u64 = mm.areas().iter().map(Area::len).sum();
    assert_eq!(sum, mm.totals().size);
    assert_eq!(sum, mm.space.resident_bytes());
}
