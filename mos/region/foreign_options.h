#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <map>
#include <string>
#include <type_traits>

#include "mos/base/text.h"
#include "mos/region/foreign_record.h"

/// What the readers of other programs' records share: options under their names there.
namespace mos::region {

/// A1111's line of options, by their names.
using A1111Fields = std::map<std::string, std::string>;

/// What `fields` say of `key`, or `fallback`.
std::string field_of(const A1111Fields& fields, const std::string& key,
                     const std::string& fallback);

/// `text` as the number of `field`, or a sentence in `record.left_out`.
template <typename T>
void take_number(const std::string& text, T& field, const std::string& key, ForeignRecord& record) {
  if (const auto value = number_in<T>(text)) {
    field = *value;
  } else if (std::is_unsigned_v<T> && number_in<std::int64_t>(text)) {
    record.left_out.push_back(fmt::format(
        "{} is {}, which stands for one drawn by chance; {} is taken", key, text, field));
  } else {
    record.left_out.push_back(fmt::format("{} is \"{}\", which is no number", key, text));
  }
}

/// The scheduler and the sigmas that `name` means, in whatever program.
void take_scheduler(const std::string& name, ForeignRecord& record);

/// The sigmas called `name`, where the record's scheduler has any.
void take_sigmas(const std::string& name, ForeignRecord& record);

/// The text encoder's layer before as many last ones; a number that no encoder has is said.
void take_skipped_layers(std::int64_t skipped, ForeignRecord& record);

/// What A1111's prompts say beside words, before they are read: tags of files become ours, and
/// those of no file here are said to be left out.
void take_a1111_tags(ForeignRecord& record);

/// Says which networks beside the model, by `fields` of A1111's line of options, painted the
/// picture and are not here: its VAE, embeddings, and LoRA that no prompt names.
void name_a1111_networks(const A1111Fields& fields, ForeignRecord& record);

/// Says that the prompt's parts were painted each by itself, where AND is between them.
void name_joined_prompts(ForeignRecord& record);

/// Says that the word `name` was an embedding.
void name_embedding(const std::string& name, ForeignRecord& record);

/// Says that weights do something else than in that program, which does not do as A1111 does.
void name_weights(ForeignRecord& record);

/// Writes every prompt of the record, of its root and regions too, in our syntax.
using InOurs = std::string (*)(std::string_view);
void rewrite_prompts(ForeignRecord& record, InOurs prompt_in_ours, InOurs negative_in_ours);

/// The negative prompt, which holds inside regions too in all these programs, becomes the root's.
void move_negative_to_root(ForeignRecord& record);

/// The weight of the region with `prompt` as we have it: above 0 and at most 1. What is cut off is
/// said.
double region_weight(double weight, const std::string& prompt, ForeignRecord& record);

/// Regions of Forge Couple, which `fields` of A1111's line of options describe, from the lines of
/// the record's prompt. Says in `left_out` what has no place here.
void take_forge_couple(const A1111Fields& fields, ForeignRecord& record);

}  // namespace mos::region
