//! Compares the declarations of this crate with the header that is installed, `qcow2blk.h`: their names and types as
//! text, their values and layouts with what the C compiler makes of the header.

mod c_header;
mod c_program;
mod rust_source;

use std::collections::BTreeMap;
use std::mem::{align_of, offset_of, size_of};

use qcow2blk_sys::*;

use c_header::Header;
use rust_source::Source;

#[test]
fn functions_have_the_names_parameters_and_types_of_the_header() {
    let header = Header::installed();
    assert_eq!(header.functions.len(), 86, "a function was added: declare it, wrap it, test it");
    assert_eq!(Source::of_crate().functions, header.functions);
}

#[test]
fn callbacks_have_the_parameters_and_types_of_the_header() {
    let header = Header::installed();
    assert_eq!(header.callbacks.len(), 8, "a callback was added, or the test no longer finds them");
    assert_eq!(Source::of_crate().callbacks, header.callbacks);
}

#[test]
fn structures_have_the_fields_and_types_of_the_header() {
    let header = Header::installed();
    assert_eq!(header.structures.len(), 8, "a structure was added, or the test no longer finds them");
    let mut declared = Source::of_crate().structures;
    assert!(declared.remove("iovec").is_some(), "iovec is for functions that take vectors");
    assert_eq!(declared, header.structures);
}

#[test]
fn each_function_has_a_macro_that_says_so() {
    let header = Header::installed();
    let expected: Vec<String> = header
        .functions
        .iter()
        .map(|function| function.name.replace("qcow2blk_", "QCOW2BLK_HAVE_").to_uppercase())
        .collect();
    let macros: Vec<String> = header.constants.iter().filter(|name| c_header::is_have(name)).cloned().collect();
    assert_eq!(macros, expected);
}

/// Each constant with its value, as this crate has it.
macro_rules! values {
    ($($name:ident),* $(,)?) => { BTreeMap::from([$((stringify!($name).to_owned(), i128::from($name))),*]) };
}

#[test]
fn constants_have_the_values_that_the_c_compiler_finds() {
    let declared = values![
        QCOW2BLK_VERSION_MAJOR,
        QCOW2BLK_VERSION_MINOR,
        QCOW2BLK_VERSION_PATCH,
        QCOW2BLK_VERSION,
        QCOW2BLK_LOG_ERROR,
        QCOW2BLK_LOG_WARNING,
        QCOW2BLK_LOG_INFO,
        QCOW2BLK_LOG_DEBUG,
        QCOW2BLK_OPEN_READ_ONLY,
        QCOW2BLK_OPEN_CALLER_LOOP,
        QCOW2BLK_FUA,
        QCOW2BLK_NO_HOLE,
        QCOW2BLK_FAST_ZERO,
        QCOW2BLK_EXTENT_HOLE,
        QCOW2BLK_EXTENT_ZERO,
        QCOW2BLK_EXTENT_DIRTY,
        QCOW2BLK_CREATE_REPLACE,
        QCOW2BLK_CHECK_PROGRESS,
        QCOW2BLK_CHECK_LEAK,
        QCOW2BLK_CHECK_ERROR,
        QCOW2BLK_CHECK_STOPPED,
        QCOW2BLK_CHECK_REPAIR_LEAKS,
        QCOW2BLK_CHECK_REPAIR_ALL,
        QCOW2BLK_CHECK_IGNORE_LOCKS,
        QCOW2BLK_CHECK_CLEAN,
        QCOW2BLK_CHECK_INCOMPLETE,
        QCOW2BLK_CHECK_CORRUPT,
        QCOW2BLK_CHECK_LEAKING,
        QCOW2BLK_SNAPSHOT_ID_SIZE,
        QCOW2BLK_BITMAP_DISABLED,
        QCOW2BLK_BITMAP_RECORDS,
        QCOW2BLK_BITMAP_INCONSISTENT,
        QCOW2BLK_BITMAP_EXPORTED,
        QCOW2BLK_STATE_RUNNING,
        QCOW2BLK_STATE_SUSPENDING,
        QCOW2BLK_STATE_SUSPENDED,
        QCOW2BLK_STATE_DETACHING,
        QCOW2BLK_STATE_FAILED,
        QCOW2BLK_STATE_ENDED,
        QCOW2BLK_ALLOW_SHRINK,
        QCOW2BLK_FORCE_SHRINK,
        QCOW2BLK_FORCE,
        QCOW2BLK_EVENT_STATE,
        QCOW2BLK_EVENT_NO_SPACE,
        QCOW2BLK_EVENT_ERROR,
        QCOW2BLK_EVENT_CORRUPT,
        QCOW2BLK_EVENT_SERVER,
    ];
    let header = Header::installed();
    let names = header.constants.iter().filter(|name| !c_header::is_have(name));
    assert_eq!(declared, c_program::values_of(names.map(|name| (name.clone(), name.clone()))));
}

/// Size and alignment of a structure, and offset and size of each field, as this crate has them.
macro_rules! layouts {
    ($($structure:ident { $($field:ident),* }),* $(,)?) => {{
        let mut layouts = BTreeMap::new();
        $(
            layouts.insert(stringify!($structure).to_owned(), size_of::<$structure>() as i128);
            layouts.insert(concat!(stringify!($structure), " align").to_owned(), align_of::<$structure>() as i128);
            $(
                let field = concat!(stringify!($structure), ".", stringify!($field)).to_owned();
                layouts.insert(format!("{field} size"), size_of_field(|s: *const $structure| {
                    // SAFETY: only an address is computed; nothing is read.
                    unsafe { std::ptr::addr_of!((*s).$field) }
                }));
                layouts.insert(field, offset_of!($structure, $field) as i128);
            )*
        )*
        layouts
    }};
}

fn size_of_field<S, F>(_address: impl Fn(*const S) -> *const F) -> i128 {
    size_of::<F>() as i128
}

#[test]
fn structures_are_laid_out_as_the_c_compiler_does_it() {
    let declared = layouts![
        qcow2blk_snapshot { size, date_nanoseconds, id, name, date_seconds, vm_clock, vm_state_size, disk_size },
        qcow2blk_check_result {
            size,
            reserved,
            check_errors,
            corruptions,
            leaks,
            corruptions_fixed,
            leaks_fixed,
            image_end_offset,
            total_clusters,
            allocated_clusters,
            fragmented_clusters,
            compressed_clusters
        },
        qcow2blk_bitmap { size, flags, name, granularity, dirty_bytes },
        qcow2blk_checkpoint {
            size,
            flags,
            name,
            snapshot_id,
            date_seconds,
            date_nanoseconds,
            reserved,
            granularity,
            dirty_bytes
        },
        qcow2blk_extent { offset, length, flags, depth },
        qcow2blk_notify { size, reserved, queue, callback, user_data },
        qcow2blk_completion { user_data, result },
        qcow2blk_device_event { size, kind, state, value, message },
        iovec { iov_base, iov_len },
    ];

    let mut structures = Header::installed().structures;
    let pointer_and_length = [("iov_base", "*mut c_void"), ("iov_len", "usize")];
    structures.insert("iovec".to_owned(), pointer_and_length.map(|(n, t)| (n.to_owned(), t.to_owned())).to_vec());
    let expressions = structures.iter().flat_map(|(structure, fields)| {
        let whole = [
            (structure.clone(), format!("sizeof (struct {structure})")),
            (format!("{structure} align"), format!("_Alignof (struct {structure})")),
        ];
        let parts = fields.iter().flat_map(move |(field, _)| {
            [
                (format!("{structure}.{field}"), format!("offsetof (struct {structure}, {field})")),
                (format!("{structure}.{field} size"), format!("sizeof (((struct {structure} *) 0)->{field})")),
            ]
        });
        whole.into_iter().chain(parts)
    });
    assert_eq!(declared, c_program::values_of(expressions));
}
