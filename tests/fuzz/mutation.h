#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace mos::fuzz {

/// Inputs from inputs: a few random changes to one of a pool, of the kinds that find faults in
/// readers: bits, bytes and numbers at their limits, words of the format, parts that are left out,
/// doubled, repeated without end or taken from elsewhere.
class Mutation {
 public:
  /// `words`: what inputs of this kind are made of; kept by reference.
  Mutation(std::uint64_t seed, const std::vector<std::string>& words)
      : random_(seed), words_(words) {}

  /// One of `pool`, which is not empty, changed.
  std::string next(const std::vector<std::string>& pool);

  /// A number from 0 to `count` - 1.
  std::size_t below(std::size_t count);

 private:
  void change(std::string& bytes, const std::vector<std::string>& pool);
  void change_byte(std::string& bytes);
  void change_number(std::string& bytes);
  void insert_word(std::string& bytes);
  void move_part(std::string& bytes);
  void repeat_part(std::string& bytes);
  void splice(std::string& bytes, const std::string& other);

  std::mt19937_64 random_;
  const std::vector<std::string>& words_;
};

}  // namespace mos::fuzz
