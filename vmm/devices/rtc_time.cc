#include "vmm/devices/rtc_time.h"

#include <chrono>

namespace gemel {
namespace {

constexpr std::int64_t kSecondsADay = 86400;
constexpr std::uint8_t kAfternoon = 0x80;

}  // namespace

RtcTime RtcTimeFromSeconds(std::int64_t seconds_since_1970) {
  using std::chrono::days, std::chrono::seconds, std::chrono::sys_days;
  const std::chrono::sys_seconds at{seconds(seconds_since_1970)};
  const sys_days day = std::chrono::floor<days>(at);
  const std::chrono::year_month_day date(day);
  const auto of_day = static_cast<std::uint32_t>((at - day).count());
  const int year = static_cast<int>(date.year());
  RtcTime time;
  time.second = static_cast<std::uint8_t>(of_day % 60);
  time.minute = static_cast<std::uint8_t>(of_day / 60 % 60);
  time.hour = static_cast<std::uint8_t>(of_day / 3600);
  time.weekday = static_cast<std::uint8_t>(std::chrono::weekday(day).c_encoding() + 1);
  time.day = static_cast<std::uint8_t>(static_cast<unsigned>(date.day()));
  time.month = static_cast<std::uint8_t>(static_cast<unsigned>(date.month()));
  time.year = static_cast<std::uint8_t>(year % 100);
  time.century = static_cast<std::uint8_t>(year / 100 % 100);
  return time;
}

std::int64_t SecondsFromRtcTime(const RtcTime& time) {
  using std::chrono::months, std::chrono::year;
  const year the_year(time.century * 100 + time.year);
  const std::chrono::year_month month = the_year / 1 + months(int{time.month} - 1);
  const std::chrono::sys_days first = month / 1;
  const std::int64_t days = first.time_since_epoch().count() + time.day - 1;
  return days * kSecondsADay + time.hour * std::int64_t{3600} + time.minute * std::int64_t{60} +
         time.second;
}

std::uint8_t EncodeRtcNumber(std::uint8_t number, RtcFormat format) {
  if (format.binary) return number;
  return static_cast<std::uint8_t>((number / 10 % 10) << 4 | number % 10);
}

std::uint8_t DecodeRtcNumber(std::uint8_t encoded, RtcFormat format) {
  if (format.binary) return encoded;
  return static_cast<std::uint8_t>((encoded >> 4) * 10 + (encoded & 0x0f));
}

std::uint8_t EncodeRtcHour(std::uint8_t hour, RtcFormat format) {
  if (format.hours24) return EncodeRtcNumber(hour, format);
  const auto of12 = static_cast<std::uint8_t>(hour % 12 == 0 ? 12 : hour % 12);
  return static_cast<std::uint8_t>(EncodeRtcNumber(of12, format) | (hour >= 12 ? kAfternoon : 0));
}

std::uint8_t DecodeRtcHour(std::uint8_t encoded, RtcFormat format) {
  if (format.hours24) return DecodeRtcNumber(encoded, format);
  const std::uint8_t of12 = DecodeRtcNumber(encoded & 0x7f, format);
  return static_cast<std::uint8_t>(of12 % 12 + ((encoded & kAfternoon) != 0 ? 12 : 0));
}

}  // namespace gemel
