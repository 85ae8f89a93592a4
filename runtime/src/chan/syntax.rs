//! The macro `select!`.

/// Waits for several channels at once: of the cases that are ready it does one, chosen at random, and goes on behind its arrow.
///
/// ```
/// use std::time::Duration;
/// use tricolor::chan::{self, select};
/// # unsafe { tricolor::Runtime::builder().run(|| {
/// let (numbers, from_numbers) = chan::bounded::<u32>(0);
/// let (to_words, words) = chan::bounded::<&str>(1);
/// tricolor::spawn(move || numbers.send(7).unwrap());
///
/// let (mut number, mut word) = (None, Some("seven"));
/// while number.is_none() || word.is_some() {
///     select! {
///         // A value, or an error where no sender is left.
///         recv(from_numbers, if number.is_none()) -> received => number = Some(received.unwrap()),
///         // A case that is switched off is never ready.
///         send(to_words, "seven", if word.is_some()) -> sent => {
///             sent.unwrap();
///             word = None;
///         }
///         after(Duration::from_secs(60)) => panic!("nobody came for a minute"),
///     }
/// }
/// assert_eq!((number, words.try_recv()), (Some(7), Ok("seven")));
///
/// // If nothing is ready now.
/// let idle = select! {
///     recv(words) -> _ => false,
///     default => true,
/// };
/// assert!(idle);
/// # }) }
/// ```
///
/// | case | is ready when | then the pattern gets |
/// |---|---|---|
/// | `recv(receiver)` | a value is there, or no sender is left | `Result<T, RecvError>` |
/// | `send(sender, value)` | there is room, or no receiver is left | `Result<(), SendError<T>>` |
/// | either, with `, if condition` behind | likewise, if the condition was true when the select began | |
/// | `default` | no other one is; the select does not wait | |
/// | `after(limit)` | for so long (a `Duration`) no other one was | |
///
/// There may be one `default` or one `after`. All ends, values, and conditions are evaluated first, in order, whichever case
/// is chosen then; a value that was not sent is dropped. Who wants it back uses [`select`](fn@crate::chan::select) with
/// [`Sending::into_unsent`](crate::chan::Sending::into_unsent). The expressions behind the arrows are part of the function around: they
/// may `return`, `break`, and use `?`. Without any case that can become ready it waits for ever.
///
/// A safepoint; needs a P. Source: Go's `select`; the form is that of `crossbeam_channel::select!`.
///
/// # Panics
/// Outside a goroutine.
#[macro_export]
#[doc(hidden)]
macro_rules! __chan_select {
    // One arm after the other: [cases so far] [how it ends without a case].
    (@arms $cases:tt $end:tt) => {
        $crate::__chan_select!(@make $cases [] $end)
    };
    (@arms $cases:tt $end:tt recv($($args:tt)*) -> $p:pat => $($rest:tt)+) => {
        $crate::__chan_select!(@body $cases $end {recv ($($args)*) ($p)} $($rest)+)
    };
    (@arms $cases:tt $end:tt send($($args:tt)*) -> $p:pat => $($rest:tt)+) => {
        $crate::__chan_select!(@body $cases $end {send ($($args)*) ($p)} $($rest)+)
    };
    (@arms $cases:tt [] default => $($rest:tt)+) => {
        $crate::__chan_select!(@body $cases [] {default} $($rest)+)
    };
    (@arms $cases:tt [] after($limit:expr) => $($rest:tt)+) => {
        $crate::__chan_select!(@body $cases [] {after ($limit)} $($rest)+)
    };
    // What is no arm.
    (@arms $cases:tt [$first:ident $($end:tt)+] default $($rest:tt)*) => {
        $crate::__chan_select!(@second $first default)
    };
    (@arms $cases:tt [$first:ident $($end:tt)+] after $($rest:tt)*) => {
        $crate::__chan_select!(@second $first after)
    };
    (@arms $cases:tt $end:tt recv($($args:tt)*) $($rest:tt)*) => {
        $crate::__chan_select!(@lacks "-> pattern =>" recv($($args)*))
    };
    (@arms $cases:tt $end:tt send($($args:tt)*) $($rest:tt)*) => {
        $crate::__chan_select!(@lacks "-> pattern =>" send($($args)*))
    };
    (@arms $cases:tt $end:tt default $($rest:tt)*) => {
        $crate::__chan_select!(@lacks "=>" default)
    };
    (@arms $cases:tt $end:tt after($limit:expr) $($rest:tt)*) => {
        $crate::__chan_select!(@lacks "=>" after($limit))
    };
    (@arms $cases:tt $end:tt $other:tt $($rest:tt)*) => {
        ::core::compile_error!(::core::concat!(
            "select: no case is `", ::core::stringify!($other), " …`; allowed are `recv(receiver) -> pattern => …`, \
             `send(sender, value) -> pattern => …`, both with `, if condition` in the parentheses, `default => …` and \
             `after(limit) => …`"
        ))
    };
    (@second $first:ident $second:ident) => {
        ::core::compile_error!(::core::concat!(
            "select: `", ::core::stringify!($second), "` stands behind `", ::core::stringify!($first),
            "`; one `default` or one `after(limit)` is allowed"
        ))
    };
    (@lacks $what:literal $($head:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "select: behind `", ::core::stringify!($($head)+), "` stand `", $what,
            "` and an expression with a comma, or a block"
        ))
    };

    (@body $cases:tt $end:tt $head:tt $body:block, $($rest:tt)*) => {
        $crate::__chan_select!(@add $cases $end $head ($body) $($rest)*)
    };
    (@body $cases:tt $end:tt $head:tt $body:block $($rest:tt)*) => {
        $crate::__chan_select!(@add $cases $end $head ($body) $($rest)*)
    };
    (@body $cases:tt $end:tt $head:tt $body:expr, $($rest:tt)*) => {
        $crate::__chan_select!(@add $cases $end $head ($body) $($rest)*)
    };
    (@body $cases:tt $end:tt $head:tt $body:expr) => {
        $crate::__chan_select!(@add $cases $end $head ($body))
    };

    (@body $cases:tt $end:tt {$op:ident $($head:tt)*} $($rest:tt)*) => {
        ::core::compile_error!(::core::concat!(
            "select: behind the arrow of `", ::core::stringify!($op), "` stand an expression and a comma, or a block; not `",
            ::core::stringify!($($rest)*), "`"
        ))
    };

    (@add $cases:tt $end:tt {default} $body:tt $($rest:tt)*) => {
        $crate::__chan_select!(@arms $cases [default $body] $($rest)*)
    };
    (@add $cases:tt $end:tt {after $limit:tt} $body:tt $($rest:tt)*) => {
        $crate::__chan_select!(@arms $cases [after $limit $body] $($rest)*)
    };
    (@add [$($cases:tt)*] $end:tt {$($head:tt)*} $body:tt $($rest:tt)*) => {
        $crate::__chan_select!(@arms [$($cases)* {$($head)* $body}] $end $($rest)*)
    };

    // The cases themselves, each in a variable of its own (`case` is another one each time); temporaries of its expressions
    // live until the end.
    (@make [{recv ($rx:expr $(, if $on:expr)? $(,)?) $p:tt $body:tt} $($more:tt)*] [$($made:tt)*] $end:tt) => {
        match $crate::chan::Receiver::receiving(&$rx)$(.only_if($on))? {
            mut case => $crate::__chan_select!(@make [$($more)*] [$($made)* {case $p $body}] $end),
        }
    };
    (@make [{send ($tx:expr, $value:expr $(, if $on:expr)? $(,)?) $p:tt $body:tt} $($more:tt)*] [$($made:tt)*] $end:tt) => {
        match $crate::chan::Sender::sending(&$tx, $value)$(.only_if($on))? {
            mut case => $crate::__chan_select!(@make [$($more)*] [$($made)* {case $p $body}] $end),
        }
    };
    (@make [{$op:ident $args:tt $p:tt $body:tt} $($more:tt)*] $made:tt $end:tt) => {
        ::core::compile_error!(::core::concat!(
            "select: `", ::core::stringify!($op), ::core::stringify!($args),
            "`: allowed are `recv(receiver)`, `send(sender, value)`, both with `, if condition` behind"
        ))
    };
    (@make [] $made:tt []) => {
        $crate::__chan_select!(@run select () $made (::core::unreachable!("one of the cases was chosen")))
    };
    (@make [] $made:tt [default $body:tt]) => {
        $crate::__chan_select!(@run try_select () $made $body)
    };
    (@make [] $made:tt [after $limit:tt $body:tt]) => {
        $crate::__chan_select!(@run select_timeout $limit $made $body)
    };
    (@run $how:ident ($($limit:expr)?) [$({$case:ident ($p:pat) ($body:expr)})*] ($otherwise:expr)) => {{
        $crate::chan::$how(&mut [$(&mut $case as &mut dyn $crate::chan::Case),*] $(, $limit)?);
        $(if let ::core::option::Option::Some(result) = $case.take() {
            let $p = result;
            $body
        } else)* {
            $otherwise
        }
    }};

    // Anything else is the whole of a `select!`.
    ($($arms:tt)*) => {
        $crate::__chan_select!(@arms [] [] $($arms)*)
    };
}

pub use __chan_select as select;
