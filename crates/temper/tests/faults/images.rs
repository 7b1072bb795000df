//! Images and their classes.
