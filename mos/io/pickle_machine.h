#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <vector>

#include "mos/io/pickle.h"

namespace mos::io {

/// What the opcodes of a pickle work on: the bytes that are left, the stack with its marks, and the
/// memo. Every operation throws mos::Error(kFormat) where the pickle is damaged or asks for more
/// than any model needs.
class PickleMachine {
 public:
  using Items = std::vector<const PickleNode*>;

  PickleMachine(std::string_view bytes, const std::string& origin)
      : bytes_(bytes), rest_(bytes), origin_(origin) {}

  /// The value on top as the whole pickle.
  Pickle finish();

  /// Throws "cannot read `origin`: `reason`".
  [[noreturn]] void fail(const std::string& reason) const;
  [[noreturn]] void fail_damaged() const;

  // Input.

  std::string_view take(std::uint64_t length);
  /// Little-endian.
  std::uint64_t take_integer(std::size_t length);
  double take_big_endian_double();
  /// Without its end.
  std::string_view take_line();

  template <typename Number>
  Number parse(std::string_view text) const {
    Number value{};
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec != std::errc() || result.ptr != text.data() + text.size()) fail_damaged();
    return value;
  }

  // Stack and marks.

  /// A new value on top.
  PickleNode& push(PickleNode::Kind kind);
  void push_int(std::int64_t value);
  /// A whole number as text; protocol 0 writes booleans as 01 and 00.
  void push_int_line(std::string_view line);
  /// A number of `length` bytes that follow; one of more than 64 bits, which no size or place in a
  /// file has, is opaque.
  void push_long(std::uint64_t length);
  /// The same of a number as text.
  void push_long_line(std::string_view line);
  void push_text(std::string_view text);
  void push_items(PickleNode::Kind kind, Items items);
  void push_mark() { marks_.push_back(stack_.size()); }
  /// The value on top once more.
  void push_again() { stack_.push_back(&top()); }

  PickleNode& top() const;
  PickleNode& top_of_kind(PickleNode::Kind kind) const;
  PickleNode* pop();
  Items pop_items(std::size_t count);
  Items pop_to_mark();
  /// `items`, which must be pairs.
  Items even(Items items) const;
  void append(Items& target, const Items& items);

  // Memo.

  void remember(std::uint64_t index) { memo_[index] = &top(); }
  void remember_next() { remember(memo_.size()); }
  void recall(std::uint64_t index);

 private:
  void count_items(std::size_t count);

  std::string_view bytes_;
  std::string_view rest_;
  const std::string& origin_;
  Pickle pickle_;
  std::vector<PickleNode*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, PickleNode*> memo_;
  std::size_t items_ = 0;
};

}  // namespace mos::io
