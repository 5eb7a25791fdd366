#include "vmm/devices/serial.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>

#include "base/check.h"
#include "tests/fakes/fake_interrupt.h"

namespace gemel {
namespace {

// Registers by the data sheet's names.
enum : std::uint64_t {
  kRbr = 0,
  kThr = 0,
  kIer = 1,
  kIir = 2,
  kFcr = 2,
  kLcr = 3,
  kMcr = 4,
  kLsr = 5,
  kMsr = 6,
  kScr = 7
};

// Takes what `room` allows; records each write.
class FakeBackend final : public SerialBackend {
 public:
  void Connect(SerialPort* port) override { port_ = port; }
  std::size_t Write(std::span<const std::byte> bytes) override {
    const std::size_t n = std::min(bytes.size(), room);
    for (const std::byte byte : bytes.first(n)) output += static_cast<char>(byte);
    room -= n;
    ++writes;
    return n;
  }
  void WantInput() override { ++wants; }
  void WaitForRoom(int) override { room = SIZE_MAX; }

  SerialPort& port() { return *port_; }
  void Type(std::string_view text) { port_->Receive(std::as_bytes(std::span(text))); }
  void MakeRoom(std::size_t n) {
    room = n;
    port_->OutputReady();
  }

  std::string output;
  std::size_t room = SIZE_MAX;
  int writes = 0;
  int wants = 0;

 private:
  SerialPort* port_ = nullptr;
};

class SerialTest : public ::testing::Test {
 protected:
  SerialTest() {
    auto loop = EventLoop::Create();
    CHECK(loop.has_value());
    loop_ = *std::move(loop);
    auto backend = std::make_unique<FakeBackend>();
    backend_ = backend.get();
    auto serial = Serial::Create("com1", loop_.get(), &irq_, std::move(backend));
    CHECK(serial.has_value());
    serial_ = *std::move(serial);
  }
  std::uint8_t In(std::uint64_t offset) {
    std::byte byte{};
    serial_->Read(offset, std::span(&byte, 1));
    return static_cast<std::uint8_t>(byte);
  }
  void Out(std::uint64_t offset, std::uint8_t value) {
    const std::byte byte{value};
    serial_->Write(offset, std::span(&byte, 1));
  }
  void Send(std::string_view text) {
    for (const char c : text) Out(kThr, static_cast<std::uint8_t>(c));
  }

  std::unique_ptr<EventLoop> loop_;
  testing::FakeInterrupt irq_;
  FakeBackend* backend_ = nullptr;
  std::unique_ptr<Serial> serial_;
};

// ---- registers ----------------------------------------------------------------------------------

TEST_F(SerialTest, PowerOn_TransmitterIsEmptyAndNothingPends) {
  EXPECT_EQ(In(kLsr), 0x60);
  EXPECT_EQ(In(kIir), 0x01);
  EXPECT_EQ(In(kMsr), 0xb0);
  EXPECT_EQ(In(kRbr), 0x00);
}

TEST_F(SerialTest, DivisorLatch_IsBehindDlabAndLeavesDataAlone) {
  Out(kLcr, 0x83);
  Out(0, 0x34);
  Out(1, 0x12);
  EXPECT_EQ(In(0), 0x34);
  EXPECT_EQ(In(1), 0x12);
  Out(kLcr, 0x03);
  EXPECT_EQ(In(kIer), 0);
  EXPECT_EQ(backend_->output, "");
}

TEST_F(SerialTest, WideAccess_IsSplitIntoBytes) {
  Out(kLcr, 0x80);
  const std::byte divisor[] = {std::byte{0x01}, std::byte{0x02}};
  serial_->Write(0, divisor);
  EXPECT_EQ(In(0), 0x01);
  EXPECT_EQ(In(1), 0x02);
}

TEST_F(SerialTest, Scratch_KeepsItsByte) {
  Out(kScr, 0x5a);
  EXPECT_EQ(In(kScr), 0x5a);
}

TEST_F(SerialTest, InterruptEnable_HasFourBits) {
  Out(kIer, 0xff);
  EXPECT_EQ(In(kIer), 0x0f);
}

TEST_F(SerialTest, FifoEnabled_ShowsInIir) {
  Out(kFcr, 0x01);
  EXPECT_EQ(In(kIir), 0xc1);
  Out(kFcr, 0x00);
  EXPECT_EQ(In(kIir), 0x01);
}

TEST_F(SerialTest, Reset_IsAsAfterPowerOn) {
  Out(kFcr, 0x01);
  Out(kIer, 0x0f);
  Out(kMcr, 0x1f);
  Out(kScr, 1);
  serial_->Reset();
  EXPECT_EQ(In(kIer), 0);
  EXPECT_EQ(In(kMcr), 0);
  EXPECT_EQ(In(kScr), 0);
  EXPECT_EQ(In(kIir), 0x01);
  EXPECT_EQ(In(kMsr), 0xb0);
}

// ---- output -------------------------------------------------------------------------------------

TEST_F(SerialTest, Line_IsOneWrite) {
  Send("hello\n");
  EXPECT_EQ(backend_->output, "hello\n");
  EXPECT_EQ(backend_->writes, 1);
}

TEST_F(SerialTest, TextWithoutNewline_GoesOutByTheTimer) {
  Send("login: ");
  EXPECT_EQ(backend_->writes, 0);
  loop_->RunOnce(-1);
  EXPECT_EQ(backend_->output, "login: ");
}

TEST_F(SerialTest, LongTextWithoutNewline_GoesOutIn128s) {
  Send(std::string(256, 'x'));
  EXPECT_EQ(backend_->output.size(), 256u);
  EXPECT_EQ(backend_->writes, 2);
}

TEST_F(SerialTest, GatheredOutput_CountsAsSent) {
  Send("abc");
  EXPECT_EQ(In(kLsr), 0x60);
}

TEST_F(SerialTest, Destruction_WritesWhatIsLeft) {
  std::string output;
  class Keeper final : public SerialBackend {
   public:
    explicit Keeper(std::string* text) : text_(text) {}
    void Connect(SerialPort*) override {}
    std::size_t Write(std::span<const std::byte> bytes) override {
      for (const std::byte byte : bytes) *text_ += static_cast<char>(byte);
      return bytes.size();
    }
    void WantInput() override {}
    void WaitForRoom(int) override {}

   private:
    std::string* text_;
  };
  auto serial = Serial::Create("com1", loop_.get(), &irq_, std::make_unique<Keeper>(&output));
  ASSERT_TRUE(serial);
  const std::byte byte{'x'};
  (*serial)->Write(kThr, std::span(&byte, 1));
  serial->reset();
  EXPECT_EQ(output, "x");
}

TEST_F(SerialTest, BackendFull_GuestSeesThrNotEmptyBeforeAnythingIsLost) {
  backend_->room = 0;
  int sent = 0;
  while ((In(kLsr) & 0x20) != 0) {
    for (int i = 0; i < 16; ++i) Out(kThr, 'x');  // a FIFO's worth after seeing THRE once
    sent += 16;
    ASSERT_LE(sent, 4096);
  }
  EXPECT_EQ(In(kLsr) & 0x60, 0);
  backend_->MakeRoom(SIZE_MAX);
  EXPECT_EQ(backend_->output.size(), static_cast<std::size_t>(sent));
  EXPECT_EQ(In(kLsr), 0x60);
}

TEST_F(SerialTest, BackendFullAndGuestDoesNotCare_LosesBytesNotOrder) {
  backend_->room = 0;
  for (int i = 0; i < 1000; ++i) Out(kThr, static_cast<std::uint8_t>('a' + i % 26));
  backend_->MakeRoom(SIZE_MAX);
  EXPECT_EQ(backend_->output.size(), 256u);
  EXPECT_EQ(backend_->output.substr(0, 3), "abc");
}

TEST_F(SerialTest, BackendHasRoomAgain_RaisesThrEmpty) {
  Out(kIer, 0x02);
  backend_->room = 0;
  while ((In(kLsr) & 0x20) != 0) Out(kThr, '\n');
  In(kIir);
  irq_.Take();
  backend_->MakeRoom(SIZE_MAX);
  EXPECT_EQ(irq_.Take(), 1);
  EXPECT_EQ(In(kIir), 0x02);
}

TEST_F(SerialTest, BackendTakesAPart_TheRestFollowsInOrder) {
  backend_->room = 3;
  Send("hello\n");
  EXPECT_EQ(backend_->output, "hel");
  backend_->MakeRoom(SIZE_MAX);
  EXPECT_EQ(backend_->output, "hello\n");
}

TEST_F(SerialTest, Drain_WaitsForTheBackend) {
  backend_->room = 0;
  Send("last words\n");
  serial_->Drain(1000);
  EXPECT_EQ(backend_->output, "last words\n");
}

// ---- transmitter interrupt ----------------------------------------------------------------------

// serial8250_do_startup of Linux calls a chip that does not do this buggy, and polls it.
TEST_F(SerialTest, EnablingThrInterruptWhileEmpty_RaisesItEachTime) {
  Out(kIer, 0x02);
  EXPECT_EQ(In(kIir), 0x02);
  Out(kIer, 0x00);
  Out(kIer, 0x02);
  EXPECT_EQ(In(kIir), 0x02);
  EXPECT_EQ(irq_.Take(), 2);
}

TEST_F(SerialTest, ReadingIir_ClearsThrInterrupt) {
  Out(kIer, 0x02);
  In(kIir);
  EXPECT_EQ(In(kIir), 0x01);
}

TEST_F(SerialTest, BurstAfterIirRead_IsOneEdge) {
  Out(kIer, 0x02);
  In(kIir);
  irq_.Take();
  Send("0123456789abcdef");
  EXPECT_EQ(irq_.Take(), 1);
  EXPECT_EQ(In(kIir), 0x02);
}

// Linux's interrupt handler leaves after 512 rounds with a last burst just written: without an edge
// for that burst the console would be silent for ever.
TEST_F(SerialTest, EveryBurstOfTheHandlersLoop_HasItsEdge) {
  Out(kIer, 0x02);
  In(kIir);
  irq_.Take();
  for (int round = 0; round < 512; ++round) {
    Send("0123456789abcdef");
    EXPECT_EQ(In(kIir), 0x02);
  }
  EXPECT_EQ(irq_.Take(), 512);
}

// ---- input --------------------------------------------------------------------------------------

TEST_F(SerialTest, Input_IsReadInOrderAndClearsDataReady) {
  Out(kFcr, 0x01);
  backend_->Type("ab");
  EXPECT_EQ(In(kLsr), 0x61);
  EXPECT_EQ(In(kRbr), 'a');
  EXPECT_EQ(In(kRbr), 'b');
  EXPECT_EQ(In(kLsr), 0x60);
}

TEST_F(SerialTest, InputBelowTrigger_IsTimeoutInterrupt) {
  Out(kFcr, 0xc1);  // trigger at 14
  Out(kIer, 0x01);
  backend_->Type("a");
  EXPECT_EQ(irq_.Take(), 1);
  EXPECT_EQ(In(kIir), 0xcc);
}

TEST_F(SerialTest, InputAtTrigger_IsReceivedInterrupt) {
  Out(kFcr, 0x41);  // trigger at 4
  Out(kIer, 0x01);
  backend_->Type("abcd");
  EXPECT_EQ(In(kIir), 0xc4);
}

TEST_F(SerialTest, InputWhileInterruptPends_IsNoSecondEdge) {
  Out(kFcr, 0x01);
  Out(kIer, 0x01);
  backend_->Type("a");
  backend_->Type("b");
  EXPECT_EQ(irq_.Take(), 1);
}

TEST_F(SerialTest, InputAfterFifoWasEmptied_IsAnEdge) {
  Out(kFcr, 0x01);
  Out(kIer, 0x01);
  backend_->Type("a");
  In(kRbr);
  backend_->Type("b");
  EXPECT_EQ(irq_.Take(), 2);
}

TEST_F(SerialTest, Fifo_HasRoomForSixteenAndAsksWhenEmptied) {
  Out(kFcr, 0x01);
  EXPECT_EQ(backend_->port().RoomForInput(), 16u);
  backend_->Type("0123456789abcdef");
  EXPECT_EQ(backend_->port().RoomForInput(), 0u);
  for (int i = 0; i < 15; ++i) In(kRbr);
  EXPECT_EQ(backend_->wants, 0);
  In(kRbr);
  EXPECT_EQ(backend_->wants, 1);
}

TEST_F(SerialTest, WithoutFifo_HasRoomForOne) {
  EXPECT_EQ(backend_->port().RoomForInput(), 1u);
  backend_->Type("a");
  EXPECT_EQ(backend_->port().RoomForInput(), 0u);
}

TEST_F(SerialTest, ReceiverReset_DropsInputAndAsksForMore) {
  Out(kFcr, 0x01);
  backend_->Type("0123456789abcdef");
  backend_->port().RoomForInput();
  Out(kFcr, 0x03);
  EXPECT_EQ(In(kLsr), 0x60);
  EXPECT_EQ(backend_->wants, 1);
}

TEST_F(SerialTest, MoreInputThanRoom_IsOverrun) {
  backend_->Type("ab");
  EXPECT_EQ(In(kLsr), 0x63);
  EXPECT_EQ(In(kLsr), 0x61);  // reading it clears the error
  EXPECT_EQ(In(kRbr), 'a');
}

TEST_F(SerialTest, Break_IsALineStatusInterruptAndAZeroByte) {
  Out(kFcr, 0x01);
  Out(kIer, 0x04);
  serial_->SendBreak();
  EXPECT_EQ(irq_.Take(), 1);
  EXPECT_EQ(In(kIir), 0xc6);
  EXPECT_EQ(In(kLsr), 0xf1);
  EXPECT_EQ(In(kIir), 0xc1);
  EXPECT_EQ(In(kRbr), 0);
}

TEST_F(SerialTest, BreakBehindInput_ShowsWhenItsTurnComes) {
  Out(kFcr, 0x01);
  backend_->Type("a");
  serial_->SendBreak();
  EXPECT_EQ(In(kLsr) & 0x10, 0);
  In(kRbr);
  EXPECT_EQ(In(kLsr) & 0x10, 0x10);
}

TEST_F(SerialTest, Priorities_AreLineStatusThenReceivedThenThrThenModem) {
  Out(kFcr, 0x01);
  Out(kMcr, 0x10);  // loopback: modem lines drop
  Out(kMcr, 0x00);
  Out(kIer, 0x0f);
  serial_->SendBreak();
  EXPECT_EQ(In(kIir) & 0x0f, 0x06);
  In(kLsr);
  EXPECT_EQ(In(kIir) & 0x0f, 0x04);  // trigger level 1
  In(kRbr);
  EXPECT_EQ(In(kIir) & 0x0f, 0x02);
  EXPECT_EQ(In(kIir) & 0x0f, 0x00);
  In(kMsr);
  EXPECT_EQ(In(kIir) & 0x0f, 0x01);
  EXPECT_EQ(irq_.Take(), 1);  // the level never fell in between
}

// ---- modem lines and loopback -------------------------------------------------------------------

// autoconfig of Linux: MCR = LOOP|OUT2|RTS must read as DCD|CTS.
TEST_F(SerialTest, Loopback_ModemOutputsAreItsInputs) {
  Out(kMcr, 0x1a);
  EXPECT_EQ(In(kMsr) & 0xf0, 0x90);
  Out(kMcr, 0x00);
  EXPECT_EQ(In(kMsr) & 0xf0, 0xb0);
}

TEST_F(SerialTest, Loopback_OutputIsInputAndReachesNobody) {
  Out(kMcr, 0x10);
  Out(kThr, 0xa5);
  EXPECT_EQ(In(kRbr), 0xa5);
  EXPECT_EQ(backend_->output, "");
}

TEST_F(SerialTest, Loopback_TakesNoInputUntilItEnds) {
  Out(kMcr, 0x10);
  EXPECT_EQ(backend_->port().RoomForInput(), 0u);
  EXPECT_EQ(backend_->wants, 0);
  Out(kMcr, 0x00);
  EXPECT_EQ(backend_->wants, 1);
}

TEST_F(SerialTest, Loopback_RingDeltaIsItsTrailingEdge) {
  Out(kMcr, 0x10);
  In(kMsr);
  Out(kMcr, 0x14);
  EXPECT_EQ(In(kMsr) & 0x04, 0);
  Out(kMcr, 0x10);
  EXPECT_EQ(In(kMsr) & 0x04, 0x04);
}

}  // namespace
}  // namespace gemel
