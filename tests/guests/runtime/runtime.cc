#include "tests/guests/runtime/runtime.h"

extern "C" {
extern const char trampoline[];
extern const char trampoline_end[];
extern const char interrupt_stubs[];
void GuestStart(std::uint64_t start_info);
void ApStart();
void InterruptStart(std::uint64_t vector, std::uint64_t error_code, std::uint64_t* rip);

// The compiler may call these for any copy.
void* memcpy(void* to, const void* from, std::size_t n) {
  void* const result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
  return result;
}
void* memset(void* to, int value, std::size_t n) {
  void* const result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
  return result;
}
}

namespace guest {
namespace {

constexpr std::uint16_t kSerial = 0x3f8;
constexpr std::uint64_t kTrampoline = 0x8000;
constexpr std::size_t kStubSize = 16;

const char* command_line = "";
Handler handlers[256];
std::uint64_t* resume_at = nullptr;
void (*ap_entry)() = nullptr;

// SDM vol. 3, 6.14.1.
struct Gate {
  std::uint16_t offset_low;
  std::uint16_t selector;
  std::uint16_t flags;
  std::uint16_t offset_middle;
  std::uint32_t offset_high;
  std::uint32_t reserved;
};
static_assert(sizeof(Gate) == 16);
alignas(16) Gate idt[256];

struct [[gnu::packed]] IdtPointer {
  std::uint16_t limit;
  std::uint64_t base;
};

void LoadIdt() {
  const IdtPointer pointer{sizeof idt - 1, reinterpret_cast<std::uint64_t>(idt)};
  asm volatile("lidt %0" : : "m"(pointer));
}

void SetGate(std::uint8_t vector) {
  const std::uint64_t stub = reinterpret_cast<std::uint64_t>(interrupt_stubs) + vector * kStubSize;
  Gate& gate = idt[vector];
  gate.offset_low = static_cast<std::uint16_t>(stub);
  gate.selector = 0x10;
  gate.offset_middle = static_cast<std::uint16_t>(stub >> 16);
  gate.offset_high = static_cast<std::uint32_t>(stub >> 32);
  gate.flags = 0x8e00;  // present, interrupt gate
}

// `text` continues with `word`.
bool StartsWith(const char* text, const char* word) {
  for (; *word != 0; ++text, ++word) {
    if (*text != *word) return false;
  }
  return true;
}

// Where `word` begins on the command line, at a word's beginning; null if nowhere.
const char* FindWord(const char* word) {
  for (const char* at = command_line; *at != 0; ++at) {
    const bool begins = at == command_line || at[-1] == ' ';
    if (begins && StartsWith(at, word)) return at;
  }
  return nullptr;
}

}  // namespace

void Print(const char* text) {
  for (; *text != 0; ++text) Out8(kSerial, static_cast<std::uint8_t>(*text));
}

void PrintHex(std::uint64_t value) {
  char text[19] = "0x";
  char* at = text + 2;
  int shift = 60;
  while (shift > 0 && (value >> shift) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[(value >> shift) & 0xf];
  *at = 0;
  Print(text);
}

void PrintNumber(std::uint64_t value) {
  char text[21];
  char* at = text + sizeof text - 1;
  *at = 0;
  do {
    *--at = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  Print(at);
}

void Expect(const char* what, std::uint64_t got, std::uint64_t expected) {
  if (got == expected) {
    PrintAll("ok: ", what, "\n");
    return;
  }
  PrintAll("FAIL: ", what, ": got ");
  PrintHex(got);
  Print(", not ");
  PrintHex(expected);
  Print("\n");
}

void HaltForever() {
  for (;;) asm volatile("cli; hlt");
}

void Exit(std::uint8_t code) {
  constexpr std::uint16_t kDebugExit = 0xf4;
  Out8(kDebugExit, code);
  PowerOff();
}

// The profiles differ in the sleep type, and ignore each other's.
void PowerOff() {
  constexpr std::uint16_t kPm1Control = 0x604, kSleepEnable = 1 << 13;
  constexpr std::uint16_t kServerType = 0, kMicroType = 5 << 10;
  Out16(kPm1Control, kServerType | kSleepEnable);
  Out16(kPm1Control, kMicroType | kSleepEnable);
  HaltForever();
}

const char* CommandLine() { return command_line; }

std::uint64_t Option(const char* name, std::uint64_t fallback) {
  const char* at = FindWord(name);
  if (at == nullptr) return fallback;
  while (*name != 0) ++at, ++name;
  if (*at++ != '=') return fallback;
  std::uint64_t value = 0;
  for (; *at >= '0' && *at <= '9'; ++at) value = value * 10 + static_cast<std::uint64_t>(*at - '0');
  return value;
}

bool HasWord(const char* word) { return FindWord(word) != nullptr; }

std::uint64_t* ResumeAt() { return resume_at; }

void SetHandler(std::uint8_t vector, Handler handler) { handlers[vector] = handler; }

void EnableApic() {
  constexpr std::uint32_t kSpurious = 0xf0, kEnabled = 0x100;
  Out8(0x21, 0xff);
  Out8(0xa1, 0xff);
  ApicWrite(kSpurious, kEnabled | 0xff);
}

void RouteIoApic(std::uint32_t pin, std::uint8_t vector, std::uint32_t apic_id) {
  const std::uint32_t redirection = 0x10 + 2 * pin;
  Write<std::uint32_t>(kIoApic, redirection + 1);
  Write<std::uint32_t>(kIoApic + 0x10, apic_id << 24);
  Write<std::uint32_t>(kIoApic, redirection);
  Write<std::uint32_t>(kIoApic + 0x10, vector);
}

void StartOtherProcessors(void (*entry)()) {
  constexpr std::uint32_t kIcrLow = 0x300, kAllOthers = 3 << 18, kAssert = 1 << 14;
  constexpr std::uint32_t kInit = 5 << 8, kStartup = 6 << 8;
  ap_entry = entry;
  const auto size = static_cast<std::size_t>(trampoline_end - trampoline);
  memcpy(reinterpret_cast<void*>(kTrampoline), trampoline, size);
  EnableApic();
  ApicWrite(kIcrLow, kAllOthers | kAssert | kInit);
  ApicWrite(kIcrLow, kAllOthers | kAssert | kStartup | (kTrampoline >> 12));
}

}  // namespace guest

// PVH: struct hvm_start_info (Xen, public/arch-x86/hvm/start_info.h); the command line's address is
// at offset 24.
void GuestStart(std::uint64_t start_info) {
  constexpr std::uint32_t kMagic = 0x336ec578;
  if (guest::Read<std::uint32_t>(start_info) == kMagic) {
    const auto cmdline = guest::Read<std::uint64_t>(start_info + 24);
    if (cmdline != 0) guest::command_line = reinterpret_cast<const char*>(cmdline);
  }
  for (unsigned vector = 0; vector < 256; ++vector) {
    guest::SetGate(static_cast<std::uint8_t>(vector));
  }
  guest::LoadIdt();
  GuestMain();
  guest::Exit(0);
}

void ApStart() {
  guest::LoadIdt();
  guest::ap_entry();
  guest::HaltForever();
}

void InterruptStart(std::uint64_t vector, std::uint64_t error_code, std::uint64_t* rip) {
  if (guest::handlers[vector] != nullptr) {
    guest::resume_at = rip;
    guest::handlers[vector](static_cast<std::uint8_t>(vector));
    return;
  }
  guest::PrintAll("FAIL: exception ", vector, " error ", error_code, " at ");
  guest::PrintHex(*rip);
  guest::Print("\n");
  guest::Exit(0xee);
}
