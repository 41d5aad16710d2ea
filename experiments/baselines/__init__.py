"""The benchmark's competitors, one a file: what each says to do, as anyone would write it."""
