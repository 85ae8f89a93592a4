//! Methods of the standard library's that run no code of their caller's, hence no write barrier.
//!
//! A method that may drop a value stands only on `Copy` types. One that calls its argument is listed too: the attribute
//! accepts only closure literals and marked functions there.
#![allow(missing_docs)]

use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::cmp::Ordering;
use core::mem::MaybeUninit;
use core::num::NonZero;
use core::ops::{Range, RangeInclusive};
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicPtr, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64, AtomicUsize,
};
use core::time::Duration;

use crate::certify;

certify! {
    pub trait Ints {
        wrapping_add, wrapping_sub, wrapping_mul, wrapping_div, wrapping_rem, wrapping_neg, wrapping_shl,
        wrapping_shr, wrapping_pow, wrapping_abs, wrapping_add_signed, checked_add, checked_sub, checked_mul,
        checked_div, checked_rem, checked_neg, checked_shl, checked_shr, checked_pow, checked_add_signed,
        checked_next_power_of_two, checked_next_multiple_of, checked_ilog2, saturating_add, saturating_sub,
        saturating_mul, saturating_pow, saturating_add_signed, overflowing_add, overflowing_sub, overflowing_mul,
        unchecked_add, unchecked_sub, unchecked_mul, leading_zeros, trailing_zeros, leading_ones, trailing_ones,
        count_ones, count_zeros, rotate_left, rotate_right, swap_bytes, reverse_bits, to_le, to_be, to_le_bytes,
        to_be_bytes, to_ne_bytes, min, max, clamp, cmp, partial_cmp, div_ceil, div_euclid, rem_euclid, isqrt, ilog,
        ilog2, ilog10, is_power_of_two, next_power_of_two, next_multiple_of, is_multiple_of, abs, abs_diff,
        unsigned_abs, signum, is_negative, is_positive, pow, midpoint, cast_signed, cast_unsigned,
        fn from_le_bytes, fn from_be_bytes, fn from_ne_bytes, fn min_value, fn max_value,
    } for u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize: "arithmetic";

    pub trait Floats {
        abs, min, max, clamp, sqrt, floor, ceil, round, trunc, fract, mul_add, powi, powf, exp, ln, log2, log10,
        is_nan, is_finite, is_infinite, to_bits, total_cmp, recip, signum, fn from_bits,
    } for f32, f64: "arithmetic";

    pub trait Chars { is_ascii_alphabetic, is_ascii_digit, to_ascii_lowercase, is_ascii }
        for u8, char: "tables of ASCII";

    pub trait Orderings { is_lt, is_le, is_gt, is_ge, is_eq, is_ne, reverse, then } for Ordering: "arithmetic";

    pub trait Bools { then, then_some } for bool: "runs only the closure, which is checked where it stands";

    pub trait Atomics {
        load, store, swap, compare_exchange, compare_exchange_weak, fetch_add, fetch_sub, fetch_and, fetch_or,
        fetch_xor, fetch_nand, fetch_max, fetch_min, fetch_not, fetch_update, get_mut, into_inner, as_ptr,
        fn new, fn from_ptr,
    } for AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, AtomicI8, AtomicI16, AtomicI32, AtomicI64,
        AtomicIsize, [T] AtomicPtr<T>: "one instruction; a barriered store is a type of its own";

    pub trait ConstPtrs {
        is_null, cast, cast_mut, add, sub, offset, byte_add, byte_sub, byte_offset, wrapping_add, wrapping_sub,
        wrapping_offset, wrapping_byte_add, wrapping_byte_sub, offset_from, byte_offset_from, offset_from_unsigned,
        byte_offset_from_unsigned, addr, expose_provenance, with_addr, map_addr, as_ref, is_aligned, align_offset, read,
        read_volatile, read_unaligned, copy_to, copy_to_nonoverlapping, len, is_empty,
    } for [T: ?Sized] *const T: "address arithmetic and plain loads";

    pub trait MutPtrs {
        is_null, cast, cast_const, add, sub, offset, byte_add, byte_sub, byte_offset, wrapping_add, wrapping_sub,
        wrapping_offset, wrapping_byte_add, wrapping_byte_sub, offset_from, byte_offset_from, offset_from_unsigned,
        byte_offset_from_unsigned, addr, expose_provenance, with_addr, map_addr, as_ref, as_mut, is_aligned,
        align_offset, read, read_volatile, read_unaligned, write, write_volatile, write_unaligned, write_bytes, copy_to,
        copy_to_nonoverlapping, copy_from, copy_from_nonoverlapping, swap, replace, len, is_empty,
    } for [T: ?Sized] *mut T: "address arithmetic, plain loads and stores";

    pub trait NonNulls {
        as_ptr, as_ref, as_mut, cast, add, sub, offset, byte_add, byte_sub, addr, read, read_volatile, write,
        write_volatile, offset_from, offset_from_unsigned, len, is_aligned,
    } for [T: ?Sized] NonNull<T>: "address arithmetic, plain loads and stores";

    pub trait Options {
        is_some, is_none, unwrap, expect, unwrap_unchecked, take, replace, as_ref, as_mut, map, and_then,
        unwrap_or_else, is_some_and, is_none_or, ok_or_else, as_slice,
    } for [T] Option<T>: "moves the value, drops nothing";

    pub trait CopyOptions {
        unwrap_or, or, or_else, xor, ok_or, map_or, filter, insert, get_or_insert, get_or_insert_with, and,
    } for [T: Copy] Option<T>: "may drop a value, which is Copy";

    pub trait OptionRefs { copied } for [T: Copy] Option<&T>, [T: Copy] Option<&mut T>: "copies";

    pub trait Results {
        is_ok, is_err, as_ref, as_mut, map, map_err, and_then, is_ok_and, is_err_and, unwrap_unchecked,
    } for [T, E] Result<T, E>: "moves the value, drops nothing";

    pub trait CopyResults { ok, err, unwrap_or, unwrap_or_else, unwrap, expect, unwrap_err, map_or }
        for [T: Copy, E: Copy] Result<T, E>: "may drop a value, which is Copy";

    pub trait Slices {
        len, is_empty, get, get_mut, get_unchecked, get_unchecked_mut, as_ptr, as_mut_ptr, as_ptr_range,
        as_mut_ptr_range, first, first_mut, last, last_mut, swap, split_at, split_at_mut,
    } for [T] [T]: "bounds checks and moves";

    pub trait CopySlices { fill, copy_from_slice, copy_within, reverse } for [T: Copy] [T]: "copies";

    pub trait Strs { len, is_empty, as_ptr, as_bytes } for str: "reads the length or the address";

    pub trait UnsafeCells { get, get_mut, into_inner, fn new, fn raw_get } for [T] UnsafeCell<T>: "an address";

    pub trait Cells { as_ptr, get_mut, into_inner, replace, swap } for [T] Cell<T>: "moves, drops nothing";

    pub trait CopyCells { get, set, update } for [T: Copy] Cell<T>: "copies";

    pub trait Uninits {
        as_ptr, as_mut_ptr, write, assume_init, assume_init_ref, assume_init_mut, assume_init_read,
        fn uninit, fn zeroed, fn new,
    } for [T] MaybeUninit<T>: "moves, drops nothing";

    pub trait Ranges { contains, is_empty, start, end }
        for Range<usize>, Range<u64>, Range<u32>, Range<isize>, RangeInclusive<usize>, RangeInclusive<u64>,
            RangeInclusive<u32>: "comparisons of integers";

    pub trait NonZeros { get, fn new, fn new_unchecked } for NonZero<u8>, NonZero<u16>, NonZero<u32>, NonZero<u64>,
        NonZero<usize>: "reads the number";

    pub trait Layouts { size, align, fn from_size_align, fn from_size_align_unchecked, fn new } for Layout: "arithmetic";

    pub trait Durations {
        as_nanos, as_micros, as_millis, as_secs, subsec_nanos, is_zero, saturating_sub, saturating_add, checked_sub,
        fn from_nanos, fn from_micros, fn from_millis, fn from_secs, fn new,
    } for Duration: "arithmetic";
}
