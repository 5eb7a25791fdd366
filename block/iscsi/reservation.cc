#include "block/iscsi/reservation.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"
#include "base/load_be.h"

namespace gemel::block {
namespace {

using Op = ReservationCommand::Op;
using Result = ReservationAnswer::Result;

constexpr std::uint8_t kExclusiveAccess = 0x03;  // scope 0, the logical unit (SPC-4, table 61)
constexpr int kMaxAttentions = 16;
// Registered by nobody: of our form, with a node that there is not.
constexpr ReservationKey kNobodysKey = 0x6d00'0000'0000'0001;

bool Refused(const ScsiOutcome& outcome) {
  return !outcome.lost && outcome.status == ScsiStatus::kCheckCondition &&
         outcome.key == SenseKey::kIllegalRequest;
}
bool Conflict(const ScsiOutcome& outcome) {
  return !outcome.lost && outcome.status == ScsiStatus::kReservationConflict;
}

std::string Describe(const ScsiOutcome& outcome) {
  if (outcome.lost) return "no answer";
  if (outcome.status != ScsiStatus::kCheckCondition)
    return fmt::format("status {:#x}", static_cast<unsigned>(outcome.status));
  return fmt::format("sense {:x}/{:04x}", static_cast<unsigned>(outcome.key), outcome.code);
}

}  // namespace

std::string_view ToString(FenceStrength strength) {
  switch (strength) {
    case FenceStrength::kNone:
      break;
    case FenceStrength::kWeaker:
      return "weaker";
    case FenceStrength::kFull:
      return "full";
  }
  return "none";
}

FenceStrength StrengthOf(const ReservationTraits& traits) {
  if (!traits.reads) return FenceStrength::kNone;
  const bool full = traits.aborts == std::optional(true) && traits.persist;
  return full ? FenceStrength::kFull : FenceStrength::kWeaker;
}

// ---- bytes ----------------------------------------------------------------------------------------

ScsiCommand PersistentReserveOut(ReserveOut action) {
  ScsiCommand command;
  command.cdb[0] = 0x5f;
  command.cdb[1] = static_cast<std::uint8_t>(action);
  if (action != ReserveOut::kRegister) command.cdb[2] = kExclusiveAccess;
  command.cdb[8] = kReservationParameterBytes;
  command.cdb_bytes = 10;
  command.data = ScsiCommand::Data::kOut;
  command.bytes = kReservationParameterBytes;
  return command;
}

std::array<std::byte, kReservationParameterBytes> ReservationParameters(ReservationKey key,
                                                                        ReservationKey action_key,
                                                                        bool persist) {
  std::array<std::byte, kReservationParameterBytes> data{};
  StoreBe(std::span(data), 0, key);
  StoreBe(std::span(data), 8, action_key);
  data[20] = persist ? std::byte{1} : std::byte{0};
  return data;
}

ScsiCommand PersistentReserveIn(ReserveIn action, std::uint16_t bytes) {
  ScsiCommand command;
  command.cdb[0] = 0x5e;
  command.cdb[1] = static_cast<std::uint8_t>(action);
  StoreBe(std::as_writable_bytes(std::span(command.cdb)), 7, bytes);
  command.cdb_bytes = 10;
  command.data = ScsiCommand::Data::kIn;
  command.bytes = bytes;
  return command;
}

std::optional<RegisteredKeys> ParseKeys(std::span<const std::byte> data) {
  if (data.size() < 8) return std::nullopt;
  RegisteredKeys keys{LoadBe32(data, 0), {}};
  const std::uint32_t length = LoadBe32(data, 4);
  if (length % 8 != 0 || length > data.size() - 8) return std::nullopt;
  for (std::uint32_t at = 0; at < length; at += 8) {
    const ReservationKey key = LoadBe64(data, 8 + std::size_t{at});
    if (std::ranges::find(keys.keys, key) == keys.keys.end()) keys.keys.push_back(key);
  }
  return keys;
}

std::optional<HeldReservation> ParseReservation(std::span<const std::byte> data) {
  if (data.size() < 8) return std::nullopt;
  HeldReservation held{LoadBe32(data, 0), 0, false};
  const std::uint32_t length = LoadBe32(data, 4);
  if (length == 0) return held;
  if (length < 16 || data.size() < 24) return std::nullopt;
  held.holder = LoadBe64(data, 8);
  held.exclusive = static_cast<std::uint8_t>(data[21]) == kExclusiveAccess;
  return held;
}

std::optional<ReservationCapabilities> ParseCapabilities(std::span<const std::byte> data) {
  if (data.size() < 8 || LoadBe16(data, 0) < 8) return std::nullopt;
  const auto bits = [&](std::size_t at) { return static_cast<std::uint8_t>(data[at]); };
  ReservationCapabilities capabilities;
  capabilities.persists = (bits(2) & 0x01) != 0;
  const bool mask_is_valid = (bits(3) & 0x80) != 0;
  capabilities.exclusive = !mask_is_valid || (bits(4) & 0x08) != 0;
  return capabilities;
}

// ---- one command ------------------------------------------------------------------------------------

ReservationRun::ReservationRun(const ReservationCommand& command, ReservationTraits* traits)
    : asked_(command), traits_(*traits) {
  Begin(First());
}

ReservationRun::Step ReservationRun::First() const {
  const bool weaker = traits_.aborts == std::optional(false);
  switch (asked_.op) {
    case Op::kRegister:
      break;
    case Op::kRead:
      if (!traits_.aborts) return Step::kTryAbort;
      return weaker && traits_.reset_owed ? Step::kReset : Step::kKeys;
    case Op::kPreemptAndAbort:
      return weaker ? Step::kPreempt : Step::kPreemptAndAbort;
    case Op::kReserve:
      return Step::kReserve;
  }
  return Step::kRegister;
}

void ReservationRun::Begin(Step step) {
  step_ = step;
  wants_ = Wants::kCommand;
  switch (step) {
    case Step::kRegister:
      return Out(ReserveOut::kRegister, 0, asked_.mine);
    case Step::kTryAbort:  // changes nothing: there is no such key
      return Out(ReserveOut::kPreemptAndAbort, asked_.mine, kNobodysKey);
    case Step::kReset:
      wants_ = Wants::kReset;
      return;
    case Step::kKeys:
      return In(ReserveIn::kKeys, kKeysBytes);
    case Step::kReservation:
      return In(ReserveIn::kReservation, kReservationBytes);
    case Step::kPreemptAndAbort:
      return Out(ReserveOut::kPreemptAndAbort, asked_.mine, asked_.other);
    case Step::kPreempt:
      traits_.reset_owed = true;
      return Out(ReserveOut::kPreempt, asked_.mine, asked_.other);
    case Step::kReserve:
      return Out(ReserveOut::kReserve, asked_.mine, 0);
  }
}

void ReservationRun::Out(ReserveOut action, ReservationKey key, ReservationKey action_key) {
  const bool persist = action == ReserveOut::kRegister && traits_.persist;
  const auto parameters = ReservationParameters(key, action_key, persist);
  data_.assign(parameters.begin(), parameters.end());
  iov_ = {data_.data(), data_.size()};
  command_ = PersistentReserveOut(action);
  command_.iov = {&iov_, 1};
}

void ReservationRun::In(ReserveIn action, std::uint16_t bytes) {
  data_.assign(bytes, std::byte{0});
  iov_ = {data_.data(), data_.size()};
  command_ = PersistentReserveIn(action, bytes);
  command_.iov = {&iov_, 1};
}

void ReservationRun::OnOutcome(const ScsiOutcome& outcome) {
  CHECK(wants_ != Wants::kNothing);
  // Told once to each nexus; the command was not done (SAM-5, 5.14).
  if (!outcome.lost && outcome.status == ScsiStatus::kCheckCondition &&
      outcome.key == SenseKey::kUnitAttention && ++attentions_ <= kMaxAttentions)
    return Begin(step_);
  if (outcome.lost) return Unknown("no answer");
  switch (step_) {
    case Step::kRegister:
      return OnRegistered(outcome);
    case Step::kTryAbort:
      if (!Refused(outcome) && !Conflict(outcome)) return Unknown(Describe(outcome));
      traits_.aborts = Conflict(outcome);
      if (asked_.op == Op::kRegister) {
        answer_.result = registered_;
        wants_ = Wants::kNothing;
        return;
      }
      return Begin(*traits_.aborts ? Step::kKeys : Step::kReset);
    case Step::kReset:
      if (!outcome.good()) return Unknown("the target does not reset the logical unit");
      traits_.reset_owed = false;
      if (asked_.op == Op::kRead) return Begin(Step::kKeys);
      return Answer(outcome);
    case Step::kKeys:
      return OnKeys(outcome);
    case Step::kReservation:
      return OnReservation(outcome);
    case Step::kPreemptAndAbort:
    case Step::kPreempt:
      return OnPreempted(outcome);
    case Step::kReserve:
      return Answer(outcome);
  }
}

void ReservationRun::OnRegistered(const ScsiOutcome& outcome) {
  if (Refused(outcome) && traits_.persist) {
    traits_.persist = false;
    return Begin(Step::kRegister);
  }
  if (!outcome.good() && !Conflict(outcome)) return Unknown(Describe(outcome));
  registered_ = outcome.good() ? Result::kGood : Result::kConflict;
  if (!traits_.aborts) return Begin(Step::kTryAbort);
  answer_.result = registered_;
  wants_ = Wants::kNothing;
}

void ReservationRun::OnPreempted(const ScsiOutcome& outcome) {
  if (step_ == Step::kPreemptAndAbort && Refused(outcome)) {
    traits_.aborts = false;
    return Begin(Step::kPreempt);
  }
  if (step_ == Step::kPreempt && outcome.good()) return Begin(Step::kReset);
  Answer(outcome);
}

std::span<const std::byte> ReservationRun::Received(const ScsiOutcome& outcome) const {
  const std::size_t missing = std::min<std::size_t>(outcome.missing, data_.size());
  return std::span(data_).first(data_.size() - missing);
}

void ReservationRun::OnKeys(const ScsiOutcome& outcome) {
  if (!outcome.good()) return Unknown(Describe(outcome));
  auto keys = ParseKeys(Received(outcome));
  if (!keys) return Unknown("READ KEYS: an answer that makes no sense, or too many keys");
  generation_ = keys->generation;
  answer_.keys = std::move(keys->keys);
  Begin(Step::kReservation);
}

void ReservationRun::OnReservation(const ScsiOutcome& outcome) {
  if (!outcome.good()) return Unknown(Describe(outcome));
  const auto held = ParseReservation(Received(outcome));
  if (!held) return Unknown("READ RESERVATION: an answer that makes no sense");
  if (held->generation != generation_) return Unknown("keys changed while they were read");
  if (held->holder == asked_.mine && asked_.mine != 0 && !held->exclusive)
    return Unknown("our reservation is not of the type Exclusive Access");
  traits_.reads = true;
  answer_.holder = held->holder;
  answer_.result = Result::kGood;
  wants_ = Wants::kNothing;
}

void ReservationRun::Answer(const ScsiOutcome& outcome) {
  if (!outcome.good() && !Conflict(outcome)) return Unknown(Describe(outcome));
  answer_.result = outcome.good() ? Result::kGood : Result::kConflict;
  wants_ = Wants::kNothing;
}

void ReservationRun::Unknown(std::string note) {
  answer_ = {};
  answer_.note = std::move(note);
  wants_ = Wants::kNothing;
}

}  // namespace gemel::block
