#include "jail/program_text.h"

#include <link.h>

#include <iterator>

namespace gemel::jail {

// Only pages of our own file that were never written to: the kernel reads them again at need.
ProgramText::ProgramText() {
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* self) {
        auto& text = *static_cast<ProgramText*>(self);
        for (int i = 0; i < info->dlpi_phnum && text.count_ < std::size(text.parts_); ++i) {
          const auto& part = info->dlpi_phdr[i];
          if (part.p_type != PT_LOAD || (part.p_flags & PF_W) != 0) continue;
          constexpr std::size_t kPage = 4096;
          const std::size_t begin = (info->dlpi_addr + part.p_vaddr) & ~(kPage - 1);
          const std::size_t end = info->dlpi_addr + part.p_vaddr + part.p_memsz;
          text.parts_[text.count_++] = {begin, end - begin};
        }
        return 0;
      },
      this);
}

}  // namespace gemel::jail
