#include "jail/text.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace gemel::jail {

Text& Text::operator<<(const char* text) {
  for (; *text != '\0' && size_ + 1 < sizeof bytes_; ++text) bytes_[size_++] = *text;
  return *this;
}

Text& Text::operator<<(long number) {
  char digits[24] = {};
  char* at = digits + sizeof digits - 1;
  const bool negative = number < 0;
  auto rest =
      negative ? 0 - static_cast<unsigned long>(number) : static_cast<unsigned long>(number);
  do {
    *--at = static_cast<char>('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (negative) *--at = '-';
  return *this << at;
}

int WriteFile(const char* path, const Text& text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const ssize_t written = write(fd, text.c_str(), text.size());
  const int error = written == static_cast<ssize_t>(text.size()) ? 0 : errno;
  close(fd);
  return error;
}

}  // namespace gemel::jail
