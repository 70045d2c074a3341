#pragma once

/// Letters of all shape comments:
///
///   B  pictures (with guidance: 2 × pictures, unconditional half first)
///   C  channels, or text width        H, W  height and width of the features
///   N  query positions = H·W          M  key positions
///   S  text positions (77)            L  cross-attention layers of the U-Net (16 in SD 1.x)
///   I, O  input and output features of a linear layer      r  LoRA rank
///
/// Pictures are RGB in [-1, 1], [B,3,H,W]. Latents are scaled by the VAE's `scaling_factor`.
/// Cross-attention layers are numbered 0…L-1: down blocks, mid block, up blocks.
/// Text for the U-Net is [B,S,C], or layer-wise [B,L,S,C] where layer l reads slice l.
/// A module computes in the dtype of its input; parameters of another dtype are cast on the way.
namespace mos::nn {}
