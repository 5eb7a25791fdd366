// RAM at 0xC0000-0xFFFFF as the host bridge's PAM registers want it, on machine type server-1: shown,
// write-protected, written blindly, hidden. With a second processor, which reads a piece all the
// time while the others around it change. (82G33 datasheet, 5.1.14)
#include "tests/guests/runtime/runtime.h"

namespace {

constexpr std::uint64_t kPiece = 0x4000;
constexpr std::uint64_t kFirst = 0xc0000;
constexpr std::uint64_t kLast = 0xf0000;
constexpr std::uint8_t kNone = 0, kReads = 1, kWrites = 2, kAll = 3;
constexpr std::uint32_t kPam = 0x90;
constexpr std::uint64_t kBefore = 0x1122'3344'5566'7788, kAfter = 0x99aa'bbcc'ddee'ff00;
constexpr std::uint64_t kNothing = ~0ull;

std::uint64_t ecam = 0;

// Both pieces of PAM1 to PAM6, or in the upper half the one of PAM0.
void Set(std::uint32_t number, std::uint8_t low, std::uint8_t high) {
  guest::Write<std::uint8_t>(ecam + kPam + number, static_cast<std::uint8_t>(high << 4 | low));
}

void ExpectAccess(const char* what, std::uint64_t at, std::uint8_t access) {
  guest::Write(at, kAfter);
  guest::Expect(what, guest::Read<std::uint64_t>(at),
                access == kAll     ? kAfter
                : access == kReads ? kBefore
                                   : kNothing);
  Set(5, kAll, kAll);
  Set(0, 0, kAll);
  const bool written = (access & kWrites) != 0;
  guest::Expect("  what is there", guest::Read<std::uint64_t>(at), written ? kAfter : kBefore);
  guest::Write(at, kBefore);
}

void EveryAccess() {
  constexpr std::uint64_t kFifth = kFirst + 8 * kPiece;  // PAM5's pieces
  constexpr std::uint64_t kPlaces[] = {kFifth, kFifth + kPiece, kLast, kLast + 0xfff8};
  for (const std::uint64_t at : kPlaces) guest::Write(at, kBefore);
  Set(5, kReads, kAll);
  ExpectAccess("read-only", kFifth, kReads);
  Set(5, kReads, kAll);
  ExpectAccess("its neighbour", kFifth + kPiece, kAll);
  Set(5, kAll, kWrites);
  ExpectAccess("write-only", kFifth + kPiece, kWrites);
  Set(5, kNone, kAll);
  ExpectAccess("hidden", kFifth, kNone);
  Set(0, 0, kReads);
  ExpectAccess("the last piece read-only", kLast + 0xfff8, kReads);
  Set(0, 0, kNone);
  ExpectAccess("the last piece hidden", kLast, kNone);
}

// Each of the 13 pieces unlike its neighbours: as many slots as there can be.
void AllUnlike() {
  for (std::uint32_t piece = 0; piece < 13; ++piece)
    guest::Write(kFirst + piece * kPiece, std::uint64_t{piece});
  for (std::uint32_t number = 1; number < 7; ++number) Set(number, kReads, kAll);
  Set(0, 0, kReads);
  std::uint64_t wrong = 0;
  for (std::uint32_t piece = 0; piece < 13; ++piece) {
    const std::uint64_t at = kFirst + piece * kPiece;
    guest::Write(at, std::uint64_t{100 + piece});
    wrong += guest::Read<std::uint64_t>(at) != (piece % 2 == 0 ? piece : 100 + piece);
  }
  guest::Expect("pieces that are wrong", wrong, 0);
}

volatile bool reading = false, enough = false;
volatile std::uint64_t other_reads = 0, other_wrong = 0;

void Reader() {
  while (!enough) {
    other_wrong = other_wrong + (guest::Read<std::uint64_t>(kFirst + 4 * kPiece) != kBefore);
    other_reads = other_reads + 1;
    reading = true;
  }
  reading = false;
  guest::HaltForever();
}

void ChangesUnderAReader() {
  for (std::uint32_t number = 1; number < 7; ++number) Set(number, kAll, kAll);
  guest::Write(kFirst + 4 * kPiece, kBefore);
  guest::StartOtherProcessors(Reader);
  while (!reading) {
  }
  for (std::uint32_t turn = 0; turn < 300; ++turn) {
    Set(2, kAll, turn % 4 & kAll);
    Set(3, kAll, turn % 3 & kAll);
  }
  enough = true;
  while (reading) {
  }
  guest::Expect("the other processor read", other_reads > 0, 1);
  guest::Expect("what it read wrong", other_wrong, 0);
}

}  // namespace

void GuestMain() {
  guest::EnableApic();
  guest::Out32(0xcf8, 1u << 31 | 0x60);
  ecam = guest::In32(0xcfc) & 0xfc00'0000;
  for (std::uint32_t number = 1; number < 7; ++number)
    guest::Expect("shown from the beginning", guest::Read<std::uint8_t>(ecam + kPam + number),
                  0x33);
  EveryAccess();
  AllUnlike();
  if (guest::HasWord("reader")) ChangesUnderAReader();
  guest::Print("ok: all of PAM\n");
  guest::Out8(0xcf9, 6);  // with pieces hidden: firmware's work is to be done again
  guest::HaltForever();
}
