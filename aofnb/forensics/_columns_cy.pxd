from aofnb.forensics._framing cimport slot_of, word_at
