//! Values with small, stable numbers; a freed number is used again. Not a map: nobody else chooses
//! the numbers.

/// Values by number.
#[derive(Debug, Clone)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    /// Live values.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// All numbers are below this one.
    pub(crate) fn bound(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            let entry = &mut self.entries[id as usize];
            assert!(entry.is_none(), "number {id} was free");
            *entry = Some(value);
            return id;
        }
        let id = u32::try_from(self.entries.len()).expect("the limits keep numbers in 32 bits");
        self.entries.push(Some(value));
        id
    }

    pub(crate) fn remove(&mut self, id: u32) -> T {
        let value = self.entries[id as usize].take().expect("only live values are removed");
        self.free.push(id);
        if self.free.len() == self.entries.len() {
            // Nothing is left: what was once large need not stay so.
            *self = Self::new();
        }
        value
    }

    pub(crate) fn get(&self, id: u32) -> &T {
        self.entries[id as usize].as_ref().expect("numbers in use are live")
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut T {
        self.entries[id as usize].as_mut().expect("numbers in use are live")
    }
}
