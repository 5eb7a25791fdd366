#include "grpc/event_log.h"

#include <fmt/format.h>

#include <charconv>

namespace gemel::daemon {

void EventLog::Keep(std::uint64_t sequence, v1::Event event) {
  event.set_resume_token(TokenOf(sequence));
  entries_.emplace_back(sequence, std::make_shared<const v1::Event>(std::move(event)));
  if (entries_.size() > kKept) entries_.pop_front();
  last_ = sequence;
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

std::string EventLog::TokenOf(std::uint64_t sequence) const {
  return fmt::format("{}.{}", store_id_, sequence);
}

ApiError EventLog::Expired(std::string_view token) const {
  return MakeApiError(Code::kOutOfRange, reason::kTokenExpired,
                      fmt::format("resume_token \"{}\": events after it are no longer kept; list "
                                  "what you watch, and watch without a token",
                                  token));
}

ApiResult<std::uint64_t> EventLog::ParseToken(std::string_view token) const {
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
    return std::unexpected(Expired(TokenOf(sequence)));
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
