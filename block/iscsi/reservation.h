// Persistent reservations (SPC-4, 5.13 and 6.15, 6.16): what a take-over asks of a disk, as SCSI
// commands and answers. Type Exclusive Access, scope the logical unit, always. Pure.
//
// A take-over is REGISTER, then reads and preempts until its own key is alone and holds the
// reservation (cluster/storage_claim.h decides that). PREEMPT AND ABORT where a target has it. Where it
// has not ("weaker"): PREEMPT, then a reset of the logical unit, which ends only once every command
// that was there before has ended; and no read is answered before such a reset.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/iscsi/scsi.h"

namespace gemel::block {

using ReservationKey = std::uint64_t;  // 0: none

struct ReservationCommand {
  enum class Op : std::uint8_t { kRegister, kRead, kPreemptAndAbort, kReserve };
  Op op = Op::kRead;
  ReservationKey mine = 0;
  ReservationKey other = 0;  // kPreemptAndAbort
};

struct ReservationAnswer {
  // kUnknown: no answer, or one that cannot be relied on: nothing may follow from it.
  enum class Result : std::uint8_t { kGood, kConflict, kUnknown };
  Result result = Result::kUnknown;
  std::vector<ReservationKey> keys;  // kRead: all that are registered, each once
  ReservationKey holder = 0;         // kRead
  std::string note;                  // kUnknown: why, for a person
};

// ---- bytes ----------------------------------------------------------------------------------------

inline constexpr std::size_t kReservationParameterBytes = 24;
enum class ReserveOut : std::uint8_t {
  kRegister = 0,
  kReserve = 1,
  kPreempt = 4,
  kPreemptAndAbort = 5,
};
// The command; its data is ReservationParameters().
ScsiCommand PersistentReserveOut(ReserveOut action);
// `persist`: APTPL, through power losses of the target.
std::array<std::byte, kReservationParameterBytes> ReservationParameters(ReservationKey key,
                                                                        ReservationKey action_key,
                                                                        bool persist);
enum class ReserveIn : std::uint8_t { kKeys = 0, kReservation = 1, kCapabilities = 2 };
ScsiCommand PersistentReserveIn(ReserveIn action, std::uint16_t bytes);

inline constexpr std::size_t kMaxReservationKeys = 256;
inline constexpr std::uint16_t kKeysBytes = 8 + 8 * kMaxReservationKeys;
struct RegisteredKeys {
  std::uint32_t generation = 0;
  std::vector<ReservationKey> keys;
};
// nullopt: not such an answer, or more keys than kMaxReservationKeys.
std::optional<RegisteredKeys> ParseKeys(std::span<const std::byte> data);

inline constexpr std::uint16_t kReservationBytes = 24;
struct HeldReservation {
  std::uint32_t generation = 0;
  ReservationKey holder = 0;  // 0: there is none
  bool exclusive = false;     // Exclusive Access of the logical unit
};
std::optional<HeldReservation> ParseReservation(std::span<const std::byte> data);

inline constexpr std::uint16_t kCapabilitiesBytes = 8;
struct ReservationCapabilities {
  bool persists = false;   // PTPL_C: survives the target's loss of power, if asked
  bool exclusive = false;  // type Exclusive Access
};
std::optional<ReservationCapabilities> ParseCapabilities(std::span<const std::byte> data);

// ---- what a target can do -------------------------------------------------------------------------

// What is known of a target; learnt while commands run.
struct ReservationTraits {
  std::optional<bool> aborts;  // PREEMPT AND ABORT
  bool persist = true;         // APTPL is asked for until a target refuses it
  bool reset_owed = true;      // of a weaker target: before the next read is answered
  bool reads = false;          // keys and reservation were read
};

enum class FenceStrength : std::uint8_t { kNone, kWeaker, kFull };
std::string_view ToString(FenceStrength strength);
// As far as `traits` say: kNone until keys were read.
FenceStrength StrengthOf(const ReservationTraits& traits);

// ---- one command, step by step ----------------------------------------------------------------------

// Ask wants(), do it, tell OnOutcome; until there is an answer.
class ReservationRun {
 public:
  enum class Wants : std::uint8_t { kCommand, kReset, kNothing };

  // `traits` outlives it, and are one nexus's: a new one begins with new ones.
  ReservationRun(const ReservationCommand& command, ReservationTraits* traits);
  ReservationRun(const ReservationRun&) = delete;
  ReservationRun& operator=(const ReservationRun&) = delete;

  Wants wants() const { return wants_; }
  const ScsiCommand& command() const { return command_; }  // kCommand; its memory is ours
  void OnOutcome(const ScsiOutcome& outcome);
  ReservationAnswer& answer() { return answer_; }  // kNothing

 private:
  enum class Step : std::uint8_t {
    kRegister,
    kTryAbort,
    kReset,
    kKeys,
    kReservation,
    kPreemptAndAbort,
    kPreempt,
    kReserve,
  };

  Step First() const;
  void Begin(Step step);
  void Out(ReserveOut action, ReservationKey key, ReservationKey action_key);
  void In(ReserveIn action, std::uint16_t bytes);
  void OnRegistered(const ScsiOutcome& outcome);
  void OnPreempted(const ScsiOutcome& outcome);
  void OnKeys(const ScsiOutcome& outcome);
  void OnReservation(const ScsiOutcome& outcome);
  void Answer(const ScsiOutcome& outcome);
  void Unknown(std::string note);
  std::span<const std::byte> Received(const ScsiOutcome& outcome) const;

  const ReservationCommand asked_;
  ReservationTraits& traits_;
  Wants wants_ = Wants::kNothing;
  Step step_ = Step::kRegister;
  ReservationAnswer::Result registered_ = ReservationAnswer::Result::kUnknown;
  int attentions_ = 0;
  std::uint32_t generation_ = 0;
  ScsiCommand command_;
  std::vector<std::byte> data_;
  iovec iov_{};
  ReservationAnswer answer_;
};

}  // namespace gemel::block
