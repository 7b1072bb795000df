//! The wire format of protocol buffers, as far as ONNX needs it: a message is a run of fields, each a key (number and type) and a value.
//! Nothing here recurses, and no length is believed before it is compared with what is there.

/// Why some bytes are not what they should be.
pub(super) type Result<T> = std::result::Result<T, String>;

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Eight([u8; 8]),
    Bytes(&'a [u8]),
    Four([u8; 4]),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Eight(_) | Value::Four(_) => Err("a field is a number where bytes belong".into()),
        }
    }

    pub(super) fn text(self) -> Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| "a name is not UTF-8".into())
    }

    pub(super) fn int(self) -> Result<i64> {
        match self {
            Value::Varint(number) => Ok(number as i64),
            Value::Eight(_) | Value::Bytes(_) | Value::Four(_) => Err("a field is not an integer".into()),
        }
    }

    pub(super) fn float(self) -> Result<f32> {
        match self {
            Value::Four(bytes) => Ok(f32::from_le_bytes(bytes)),
            Value::Varint(_) | Value::Eight(_) | Value::Bytes(_) => Err("a field is not a float".into()),
        }
    }

    /// Integers of a repeated field, packed or one by one.
    pub(super) fn ints(self, to: &mut Vec<i64>) -> Result<()> {
        let Value::Bytes(mut bytes) = self else {
            to.push(self.int()?);
            return Ok(());
        };
        while !bytes.is_empty() {
            to.push(varint(&mut bytes)? as i64);
        }
        Ok(())
    }

    /// Floats of a repeated field, packed or one by one.
    pub(super) fn floats(self, to: &mut Vec<f64>) -> Result<()> {
        match self {
            Value::Bytes(bytes) => {
                let (whole, rest) = bytes.as_chunks::<4>();
                to.extend(whole.iter().map(|b| f64::from(f32::from_le_bytes(*b))));
                if rest.is_empty() { Ok(()) } else { Err("a list of floats ends within one".into()) }
            }
            Value::Four(_) | Value::Varint(_) | Value::Eight(_) => {
                to.push(f64::from(self.float()?));
                Ok(())
            }
        }
    }

    /// Doubles of a repeated field, packed or one by one.
    pub(super) fn doubles(self, to: &mut Vec<f64>) -> Result<()> {
        match self {
            Value::Bytes(bytes) => {
                let (whole, rest) = bytes.as_chunks::<8>();
                to.extend(whole.iter().map(|b| f64::from_le_bytes(*b)));
                if rest.is_empty() { Ok(()) } else { Err("a list of doubles ends within one".into()) }
            }
            Value::Eight(bytes) => {
                to.push(f64::from_le_bytes(bytes));
                Ok(())
            }
            Value::Varint(_) | Value::Four(_) => Err("a field is not a double".into()),
        }
    }
}

/// The fields of a message.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>)> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => Value::Eight(taken(&mut self.0, 8)?.try_into().expect("eight bytes")),
            2 => {
                let length = varint(&mut self.0)?;
                Value::Bytes(taken(&mut self.0, length)?)
            }
            5 => Value::Four(taken(&mut self.0, 4)?.try_into().expect("four bytes")),
            other => {
                return Err(format!("a field of type {other}, which ONNX does not use: the file is cut or no ONNX"));
            }
        };
        match key >> 3 {
            0 => Err("a field with number 0: the file is cut or no ONNX".into()),
            number => Ok((number, value)),
        }
    }
}

fn taken<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8]> {
    let split = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
    let (head, tail) =
        split.ok_or_else(|| format!("{length} bytes of which {} are there: the file is cut", bytes.len()))?;
    *bytes = tail;
    Ok(head)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0_u64;
    for i in 0..10 {
        let byte = taken(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << (7 * i).min(63);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("an integer of more than ten bytes".into())
}

/// A message that is being written.
#[derive(Debug, Clone, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// With an integer field.
    #[must_use]
    pub fn int(mut self, number: u64, value: i64) -> Self {
        self.varint(number << 3);
        self.varint(value as u64);
        self
    }

    /// With a float field.
    #[must_use]
    pub fn float(mut self, number: u64, value: f32) -> Self {
        self.varint(number << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// With a field of bytes or text.
    #[must_use]
    pub fn bytes(mut self, number: u64, value: impl AsRef<[u8]>) -> Self {
        self.varint(number << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend(value.as_ref());
        self
    }

    /// With a field that is a message.
    #[must_use]
    pub fn message(self, number: u64, value: &Message) -> Self {
        self.bytes(number, &value.0)
    }

    /// What is written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}
