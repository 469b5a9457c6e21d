//! Guest structures: little-endian, field by field, explicit padding.

/// A value with a fixed byte layout inside a guest structure.
pub trait AbiField: Sized {
    /// Bytes it occupies.
    const SIZE: usize;
    /// Reads it from the first `SIZE` bytes of `bytes` (which holds at least that many).
    fn get(bytes: &[u8]) -> Self;
    /// Writes it to the first `SIZE` bytes of `bytes`.
    fn put(&self, bytes: &mut [u8]);
}

macro_rules! int_field {
    ($($t:ty),*) => {$(
        impl AbiField for $t {
            const SIZE: usize = size_of::<$t>();
            fn get(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$t>()];
                raw.copy_from_slice(&bytes[..Self::SIZE]);
                <$t>::from_le_bytes(raw)
            }
            fn put(&self, bytes: &mut [u8]) {
                bytes[..Self::SIZE].copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
int_field!(u8, i8, u16, i16, u32, i32, u64, i64);

impl AbiField for crate::UserAddr {
    const SIZE: usize = 8;
    fn get(bytes: &[u8]) -> Self {
        crate::UserAddr(u64::get(bytes))
    }
    fn put(&self, bytes: &mut [u8]) {
        self.0.put(bytes);
    }
}

impl<T: AbiField + Copy + Default, const N: usize> AbiField for [T; N] {
    const SIZE: usize = T::SIZE * N;
    fn get(bytes: &[u8]) -> Self {
        let mut out = [T::default(); N];
        for (slot, chunk) in out.iter_mut().zip(bytes.chunks_exact(T::SIZE)) {
            *slot = T::get(chunk);
        }
        out
    }
    fn put(&self, bytes: &mut [u8]) {
        for (value, chunk) in self.iter().zip(bytes.chunks_exact_mut(T::SIZE)) {
            value.put(chunk);
        }
    }
}

/// A guest structure; implemented by [`abi_struct!`](crate::abi_struct).
pub trait AbiStruct: AbiField {
    /// Its bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::SIZE];
        self.put(&mut bytes);
        bytes
    }
}

/// Declares a guest structure with Linux's layout: fields in order, padding spelled out.
///
/// ```
/// abi::abi_struct! {
///     /// `struct timespec`.
///     pub struct Example { pub sec: i64, pub nsec: i64 }
/// }
/// ```
#[macro_export]
macro_rules! abi_struct {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$fmeta:meta])* $fvis:vis $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis struct $name { $($(#[$fmeta])* $fvis $field: $ty),* }
        impl $crate::AbiField for $name {
            const SIZE: usize = 0 $(+ <$ty as $crate::AbiField>::SIZE)*;
            #[allow(unused_assignments)]
            fn get(bytes: &[u8]) -> Self {
                let mut at = 0;
                $(let $field = { let v = <$ty as $crate::AbiField>::get(&bytes[at..]); at += <$ty as $crate::AbiField>::SIZE; v };)*
                Self { $($field),* }
            }
            #[allow(unused_assignments)]
            fn put(&self, bytes: &mut [u8]) {
                let mut at = 0;
                $($crate::AbiField::put(&self.$field, &mut bytes[at..]); at += <$ty as $crate::AbiField>::SIZE;)*
            }
        }
        impl $crate::AbiStruct for $name {}
        impl Default for $name {
            fn default() -> Self { <Self as $crate::AbiField>::get(&[0; <Self as $crate::AbiField>::SIZE]) }
        }
    };
}
