#include "mos/io/pickle_machine.h"

#include <fmt/format.h>

#include <bit>
#include <utility>

#include "mos/base/error.h"

namespace mos::io {

using Kind = PickleNode::Kind;

namespace {

/// Larger pickles are refused: a whole Stable Diffusion checkpoint needs some ten thousand.
constexpr std::size_t kMaxNodes = 2'000'000;
constexpr std::size_t kMaxItems = 10'000'000;

}  // namespace

Pickle PickleMachine::finish() {
  pickle_.root = pop();
  pickle_.bytes = bytes_.size() - rest_.size();
  return std::move(pickle_);
}

void PickleMachine::fail(const std::string& reason) const {
  throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: {}", origin_, reason));
}

void PickleMachine::fail_damaged() const { fail("the pickle in it is damaged or incomplete"); }

// ---- Input ----

std::string_view PickleMachine::take(std::uint64_t length) {
  if (length > rest_.size()) fail_damaged();
  const auto result = rest_.substr(0, length);
  rest_.remove_prefix(length);
  return result;
}

std::uint64_t PickleMachine::take_integer(std::size_t length) {
  const auto bytes = take(length);
  std::uint64_t value = 0;
  for (std::size_t i = length; i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

double PickleMachine::take_big_endian_double() {
  std::uint64_t bits = 0;
  for (const char byte : take(8)) bits = bits << 8 | static_cast<unsigned char>(byte);
  return std::bit_cast<double>(bits);
}

std::string_view PickleMachine::take_line() {
  const auto end = rest_.find('\n');
  if (end == std::string_view::npos) fail_damaged();
  const auto line = take(end);
  take(1);
  return line;
}

// ---- Stack and marks ----

PickleNode& PickleMachine::push(Kind kind) {
  if (pickle_.nodes.size() >= kMaxNodes) fail("its pickle holds too many values");
  auto& node = pickle_.nodes.emplace_back();
  node.kind = kind;
  stack_.push_back(&node);
  return node;
}

void PickleMachine::push_int(std::int64_t value) { push(Kind::kInt).integer = value; }

void PickleMachine::push_int_line(std::string_view line) {
  if (line == "00" || line == "01") {
    push(Kind::kBool).integer = line == "01" ? 1 : 0;
  } else {
    push_int(parse<std::int64_t>(line));
  }
}

void PickleMachine::push_long(std::uint64_t length) {
  if (length > 8) {
    take(length);
    push(Kind::kOpaque);
    return;
  }
  const auto bits = take_integer(length);
  const auto unused = static_cast<int>(64 - 8 * length);
  push_int(length == 0 ? 0 : static_cast<std::int64_t>(bits << unused) >> unused);
}

void PickleMachine::push_long_line(std::string_view line) {
  std::int64_t value = 0;
  const auto* end = line.data() + line.size();
  const auto result = std::from_chars(line.data(), end, value);
  if (result.ec == std::errc::result_out_of_range && result.ptr == end) {
    push(Kind::kOpaque);
  } else {
    push_int(parse<std::int64_t>(line));
  }
}

void PickleMachine::push_text(std::string_view text) { push(Kind::kText).text = text; }

void PickleMachine::push_items(Kind kind, Items items) {
  count_items(items.size());
  push(kind).items = std::move(items);
}

PickleNode& PickleMachine::top() const {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail_damaged();
  return *stack_.back();
}

PickleNode& PickleMachine::top_of_kind(Kind kind) const {
  if (top().kind != kind) fail_damaged();
  return top();
}

PickleNode* PickleMachine::pop() {
  auto* node = &top();
  stack_.pop_back();
  return node;
}

PickleMachine::Items PickleMachine::pop_items(std::size_t count) {
  Items items(count);
  for (std::size_t i = count; i-- > 0;) items[i] = pop();
  return items;
}

PickleMachine::Items PickleMachine::pop_to_mark() {
  if (marks_.empty()) fail_damaged();
  const auto mark = static_cast<std::ptrdiff_t>(marks_.back());
  marks_.pop_back();
  Items items(stack_.begin() + mark, stack_.end());
  stack_.resize(static_cast<std::size_t>(mark));
  return items;
}

PickleMachine::Items PickleMachine::even(Items items) const {
  if (items.size() % 2 != 0) fail_damaged();
  return items;
}

void PickleMachine::append(Items& target, const Items& items) {
  count_items(items.size());
  target.insert(target.end(), items.begin(), items.end());
}

/// Bounds what copies of one long list can add up to.
void PickleMachine::count_items(std::size_t count) {
  items_ += count;
  if (items_ > kMaxItems) fail("its pickle holds too many values");
}

// ---- Memo ----

void PickleMachine::recall(std::uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) fail_damaged();
  stack_.push_back(found->second);
}

}  // namespace mos::io
