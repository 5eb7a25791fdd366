#include "grpc/event_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace gemel::daemon {
namespace {

// What stands behind '@' in a token.
std::optional<EventLog::Position> ParsePosition(std::string_view token) {
  const std::size_t at = token.rfind('@');
  const std::size_t dot = token.rfind('.');
  if (at == std::string_view::npos || dot < at) return std::nullopt;
  EventLog::Position position;
  const char* const middle = token.data() + dot;
  const char* const end = token.data() + token.size();
  const auto first = std::from_chars(token.data() + at + 1, middle, position.incarnation);
  const auto second = std::from_chars(middle + 1, end, position.revision);
  if (first.ec != std::errc() || first.ptr != middle || second.ec != std::errc() ||
      second.ptr != end)
    return std::nullopt;
  return position;
}

}  // namespace

void EventLog::Keep(std::uint64_t sequence, v1::Event event) {
  last_ = sequence;
  if (event.has_decision()) newest_ = std::max(newest_, PositionOf(event));
  event.set_resume_token(NewestToken());
  entries_.emplace_back(sequence, std::make_shared<const v1::Event>(std::move(event)));
  if (entries_.size() > kKept) entries_.pop_front();
}

void EventLog::Append(std::uint64_t sequence, v1::Event event) {
  std::map<std::uint64_t, std::function<void()>> waiters;
  {
    MutexLock lock(mutex_);
    ++counts_[event.type()];
    Keep(sequence, std::move(event));
    waiters.swap(waiters_);
  }
  for (const auto& [id, wake] : waiters) wake();
}

void EventLog::Restore(std::uint64_t sequence, v1::Event event) {
  MutexLock lock(mutex_);
  Keep(sequence, std::move(event));
}

std::map<v1::EventType, std::uint64_t> EventLog::counts() const {
  MutexLock lock(mutex_);
  return counts_;
}

// "STORE.SEQUENCE", and behind it "@INCARNATION.REVISION" once there were events of the cluster's.
std::string EventLog::NewestToken() const {
  if (newest_ == Position{}) return fmt::format("{}.{}", store_id_, last_);
  return fmt::format("{}.{}@{}.{}", store_id_, last_, newest_.incarnation, newest_.revision);
}

std::string EventLog::TokenOf(std::uint64_t sequence) const {
  MutexLock lock(mutex_);
  if (!entries_.empty() && sequence >= entries_.front().first && sequence <= last_)
    return entries_[static_cast<std::size_t>(sequence - entries_.front().first)]
        .second->resume_token();
  return sequence == last_ ? NewestToken() : fmt::format("{}.{}", store_id_, sequence);
}

ApiError EventLog::Expired(std::string_view token) const {
  return MakeApiError(Code::kOutOfRange, reason::kTokenExpired,
                      fmt::format("resume_token \"{}\": events after it are no longer kept; list "
                                  "what you watch, and watch without a token",
                                  token));
}

ApiResult<std::uint64_t> EventLog::ParseToken(std::string_view whole) const {
  const std::string_view token = whole.substr(0, whole.find('@'));
  const std::size_t dot = token.rfind('.');
  std::uint64_t sequence = 0;
  const std::string_view digits = dot == std::string_view::npos ? "" : token.substr(dot + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), sequence);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size())
    return std::unexpected(InvalidField(
        "resume_token", fmt::format("\"{}\" is not a resume token", token.substr(0, 100))));
  MutexLock lock(mutex_);
  if (token.substr(0, dot) != store_id_ || sequence > last_) return std::unexpected(Expired(token));
  if (sequence < last_ && (entries_.empty() || entries_.front().first > sequence + 1))
    return std::unexpected(Expired(token));
  return sequence;
}

ApiResult<EventLog::Place> EventLog::Resume(std::string_view token) const {
  auto sequence = ParseToken(token);
  if (sequence) return Place{*sequence, {}};
  const std::optional<Position> seen = ParsePosition(token);
  if (!seen || sequence.error().code() != static_cast<int>(Code::kOutOfRange) ||
      token.substr(0, token.rfind('@')).starts_with(store_id_ + "."))
    return std::unexpected(std::move(sequence).error());
  MutexLock lock(mutex_);
  std::uint64_t after = last_;
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (!entry->second->has_decision()) continue;
    if (PositionOf(*entry->second) <= *seen) return Place{after, *seen};
    if (entry->second->decision().after_gap()) break;
    after = entry->first - 1;
  }
  return std::unexpected(Expired(token));
}

std::uint64_t EventLog::last() const {
  MutexLock lock(mutex_);
  return last_;
}

ApiResult<std::vector<EventLog::Entry>> EventLog::After(std::uint64_t sequence,
                                                        std::size_t limit) const {
  MutexLock lock(mutex_);
  std::vector<Entry> found;
  if (sequence >= last_) return found;
  if (entries_.empty() || entries_.front().first > sequence + 1)
    return std::unexpected(Expired(fmt::format("{}.{}", store_id_, sequence)));
  for (std::size_t i = static_cast<std::size_t>(sequence + 1 - entries_.front().first);
       i < entries_.size() && found.size() < limit; ++i)
    found.push_back(entries_[i]);
  return found;
}

std::vector<EventLog::Entry> EventLog::Kept(std::uint64_t sequence) const {
  MutexLock lock(mutex_);
  std::vector<Entry> found;
  for (const Entry& entry : entries_) {
    if (entry.first > sequence) found.push_back(entry);
  }
  return found;
}

std::uint64_t EventLog::WakeAfter(std::uint64_t sequence, std::function<void()> wake) {
  {
    MutexLock lock(mutex_);
    if (last_ <= sequence) {
      const std::uint64_t id = next_waiter_++;
      waiters_[id] = std::move(wake);
      return id;
    }
  }
  wake();
  return 0;
}

void EventLog::Forget(std::uint64_t id) {
  MutexLock lock(mutex_);
  waiters_.erase(id);
}

}  // namespace gemel::daemon
