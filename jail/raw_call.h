// System calls without the C library, for what a jail does while it waits: each page of program text
// that it touches then brings 60 KiB of its neighbours into memory, for as long as the VM lives.
#pragma once

namespace gemel::jail {

// As syscall(2), but the error comes back as its negative number.
template <class A, class B, class C, class D>
inline long RawCall(long number, A a, B b, C c, D d) {
  register auto a4 asm("r10") = d;
  long result = number;
  asm volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c), "r"(a4) : "rcx", "r11", "memory");
  return result;
}

}  // namespace gemel::jail
