// Gives back the memory of program text that will hardly be needed again.
#pragma once
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstddef>

#include "jail/raw_call.h"

namespace gemel::jail {

class ProgramText {
 public:
  ProgramText();  // finds it

  // Inline, and without the C library, so that nothing comes back at once.
  void GiveBack() const {
    for (std::size_t i = 0; i < count_; ++i)
      RawCall(SYS_madvise, parts_[i].begin, parts_[i].size, MADV_DONTNEED, 0);
  }

 private:
  struct Part {
    std::size_t begin, size;
  };
  Part parts_[8];
  std::size_t count_ = 0;
};

}  // namespace gemel::jail
