//! The words by which recipes and command lines name the variants of an enum.

/// `NAMES`, `name` and `from_name` of an enum without fields, from one list of its variants.
///
/// ```
/// #[derive(Debug, Clone, Copy, PartialEq)]
/// enum Order {
///     Original,
///     Reshuffled,
/// }
/// temper_base::names!(Order { Original = "original", Reshuffled = "reshuffled" });
///
/// assert_eq!(Order::from_name("reshuffled"), Some(Order::Reshuffled));
/// assert_eq!(Order::from_name("sorted"), None);
/// assert_eq!(Order::NAMES, ["original", "reshuffled"]);
/// assert_eq!(Order::Original.name(), "original");
/// ```
#[macro_export]
macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// The names of all.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }

            /// The one of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
