#pragma once

#include <string>
#include <string_view>

/// Tensor names of older files, as one table of rules.
namespace mos::io {

/// The name today's diffusers gives to `key`, e.g. `….attentions.0.query.weight` →
/// `….attentions.0.to_q.weight` (the VAE files of SD 1.x); unknown keys come back as they are.
std::string canonical_key(std::string_view key);

/// True for buffers that older versions stored although they are constants, such as
/// `text_model.embeddings.position_ids`.
bool is_ignorable_buffer(std::string_view key);

/// Whether `text` matches `pattern`, where `*` stands for any run of characters.
bool matches_pattern(std::string_view text, std::string_view pattern);

}  // namespace mos::io
