"""The fields of aihwkit's inference configurations, as of version 1.2.

Each has its default there and the key of a profile that it sets, or the consequence of having none.
"""

from __future__ import annotations

from cimsim.exchange.source import NO_EFFECT, Field

LIBRARY = "aihwkit"

_TRAINING = "concerns training in aihwkit; a chip is the same without it"
_MODIFIER = (
    "noise that aihwkit adds in training only; cimsim trains with the noise of the profile, see "
    "cimsim train --noise"
)
_CLIP = "weight clipping in training; see cimsim train --clip-sigma"
_BOUNDS = "the input range of aihwkit is learned this way; cimsim learns it by its own gradient"
_POLARITY = "the asymmetry between the two polarities is missing"
_TIME_DEPENDENT = "the time-dependent IR drop of this tile has no counterpart"
_PERIPHERY = "the quantization of digital periphery has no counterpart; sums and scales are exact"

FIELDS: tuple[Field, ...] = (
    Field("class", "InferenceRPUConfig", "name"),
    Field("tile_class", "InferenceTile", NO_EFFECT),
    Field("tile_array_class", "TileModuleArray", NO_EFFECT),
    Field("simulator_tile_class", "TorchSimulatorTile", NO_EFFECT),
    Field("act_quant_config", None, "", "the quantization of activations has no counterpart"),
    Field("runtime.data_type", "FLOAT", NO_EFFECT),
    Field("runtime.on_the_fly_bindings", False, NO_EFFECT),
    Field("runtime.offload_input", False, NO_EFFECT),
    Field("runtime.offload_gradient", False, NO_EFFECT),
    # pre_post
    Field("pre_post.input_range.enable", False, "dac.range"),
    Field("pre_post.input_range.learn_input_range", True, "dac.range"),
    Field("pre_post.input_range.init_value", 3.0, "dac.range"),
    Field("pre_post.input_range.init_from_data", 100, "dac.range"),
    Field("pre_post.input_range.init_std_alpha", 3.0, "dac.range"),
    Field("pre_post.input_range.decay", 0.001, "", _BOUNDS),
    Field("pre_post.input_range.input_min_percentage", 0.95, "", _BOUNDS),
    Field("pre_post.input_range.manage_output_clipping", False, "", _BOUNDS),
    Field("pre_post.input_range.output_min_percentage", 0.95, "", _BOUNDS),
    Field("pre_post.input_range.gradient_scale", 1.0, "", _BOUNDS),
    Field("pre_post.input_range.gradient_relative", True, "", _BOUNDS),
    Field("pre_post.input_range.calibration_info", None, "", "is a remark without effect"),
    Field("pre_post.periph_quant.n_bits", 0, "", _PERIPHERY),
    Field("pre_post.periph_quant.symmetric", True, "", _PERIPHERY),
    Field("pre_post.periph_quant.learn_quant_params", False, "", _PERIPHERY),
    Field("pre_post.periph_quant.init_learning_after", 100, "", _PERIPHERY),
    # mapping
    Field(
        "mapping.digital_bias", True, "", "aihwkit stores the bias in the array; here it is digital"
    ),
    Field("mapping.weight_scaling_omega", 0.0, "adc.range"),
    Field("mapping.weight_scaling_columnwise", False, "array.weight_scale"),
    Field("mapping.weight_scaling_lr_compensation", False, "", _TRAINING),
    Field(
        "mapping.learn_out_scaling",
        False,
        "",
        "the scales of the outputs are trainable in aihwkit; here they follow from the weights",
    ),
    Field(
        "mapping.out_scaling_columnwise",
        False,
        "",
        "the scales of the outputs are trainable in aihwkit; here they follow from the weights",
    ),
    Field("mapping.max_input_size", 512, "array.rows"),
    Field("mapping.max_output_size", 512, "array.columns"),
    # forward
    Field("forward.is_perfect", False, "dac.bits, adc.bits"),
    Field(
        "forward.mv_type",
        "ONE_PASS",
        "",
        "several passes per product have no counterpart; the profile describes one pass",
    ),
    Field("forward.inp_bound", 1.0, "dac.range"),
    Field("forward.inp_noise", 0.0, "", "noise of the inputs has no counterpart; it is missing"),
    Field("forward.inp_res", 1 / 126, "dac.bits"),
    Field("forward.inp_sto_round", False, "", "stochastic rounding of inputs is missing"),
    Field("forward.inp_asymmetry", 0.0, "", _POLARITY),
    Field("forward.out_bound", 12.0, "adc.range"),
    Field("forward.out_noise", 0.06, "adc.noise_of_range"),
    Field("forward.out_noise_std", 0.0, "", "all ADCs have the same noise; its spread is missing"),
    Field("forward.out_res", 1 / 510, "adc.bits"),
    Field("forward.out_sto_round", False, "", "stochastic rounding of outputs is missing"),
    Field("forward.out_scale", 1.0, "", "the fixed factor on all outputs is missing"),
    Field("forward.out_asymmetry", 0.0, "", _POLARITY),
    Field("forward.bound_management", "ITERATIVE", "adc.range"),
    Field("forward.noise_management", "ABS_MAX", "dac.range"),
    Field("forward.w_noise", 0.0, "cell.read_noise"),
    Field("forward.w_noise_type", "NONE", "cell.read_noise"),
    Field("forward.ir_drop", 0.0, "wires.r_bit_ohm"),
    Field("forward.ir_drop_g_ratio", 1.0 / 0.35 / 5e-6, "wires.r_bit_ohm"),
    Field("forward.out_nonlinearity", 0.0, "adc.errors"),
    Field(
        "forward.out_nonlinearity_std",
        0.0,
        "",
        "all readouts have the same nonlinearity; its spread is missing",
    ),
    Field("forward.slope_calibration", 0.0, "", "the calibrated slope of the readout is missing"),
    Field("forward.v_offset_std", 0.0, "", "the voltage offsets of the outputs are missing"),
    Field("forward.v_offset_w_min", -1.0, "", "the voltage offsets of the outputs are missing"),
    Field("forward.r_series", 0.0, "", "the series resistance of the outputs is missing"),
    Field("forward.w_read_asymmetry_dtod", 0.0, "", _POLARITY),
    Field("forward.max_bm_factor", 1000, "", "limits bound management, which has no counterpart"),
    Field("forward.max_bm_res", 0.25, "", "limits bound management, which has no counterpart"),
    Field(
        "forward.bm_test_negative_bound",
        True,
        "",
        "concerns bound management, which has no counterpart",
    ),
    Field("forward.nm_thres", 0.0, "dac.range"),
    Field("forward.ir_drop_rs", 0.15, "", _TIME_DEPENDENT),
    Field("forward.ir_drop_segments", 8, "", _TIME_DEPENDENT),
    Field("forward.ir_drop_time_step_resolution_scale", 1.0, "", _TIME_DEPENDENT),
    Field("forward.ir_drop_v_read", 0.4005, "", _TIME_DEPENDENT),
    Field("forward.apply_xdep_pcm_read_noise", False, "", _TIME_DEPENDENT),
    Field("forward.xdep_pcm_read_noise_scale", 1.0, "", _TIME_DEPENDENT),
    Field("forward.adc_quantization", True, "", _TIME_DEPENDENT),
    Field("forward.adc_frequency", 6.24, "", _TIME_DEPENDENT),
    Field("forward.ir_drop_integration_sum", False, "", _TIME_DEPENDENT),
    # whole objects
    Field("noise_model", None, "cell"),
    Field("drift_compensation", None, "array.drift_compensation"),
    # training
    Field("clip.type", "NONE", "", _CLIP),
    Field("clip.fixed_value", -1.0, "", _CLIP),
    Field("clip.sigma", 2.5, "", _CLIP),
    Field("remap.type", "NONE", "array.weight_scale"),
    Field("remap.remapped_wmax", 1.0, "", _TRAINING),
    Field("remap.max_scale_range", 0.0, "", _TRAINING),
    Field("remap.max_scale_ref", 0.0, "", _TRAINING),
    *(
        Field(f"modifier.{name}", default, "", _MODIFIER)
        for name, default in {
            "type": "NONE",
            "std_dev": 0.0,
            "per_batch_sample": False,
            "res": 0.0,
            "sto_round": False,
            "dorefa_clip": 0.6,
            "pdrop": 0.0,
            "enable_during_test": False,
            "rel_to_actual_wmax": True,
            "assumed_wmax": 1.0,
            "copy_last_column": False,
            "coeffs": [0.0105392, 0.0768, -0.046925],
            "g_max": 25.0,
            "pcm_zero_thres": 0.0,
            "pcm_t_inference": 0.0,
            "pcm_prob_at_reset": 0.0,
            "pcm_prob_at_gmax": 0.0,
            "pcm_prob_at_random": 0.0,
            "pcm_t0": 20.0,
        }.items()
    ),
)

WHOLE = frozenset({"noise_model", "drift_compensation"})
"""Paths whose values are objects of a class of their own."""

IGNORED = ("backward", "update", "device")
"""Parts that every inference configuration has at the same values."""

CONFIGS = {
    "InferenceRPUConfig": "",
    "TorchInferenceRPUConfig": "",
    "QuantizedTorchInferenceRPUConfig": "",
    "TorchInferenceRPUConfigIRDropT": "",
    "FloatingPointPreset": "",
    "StandardHWATrainingPreset": "",
    "WebComposerInferenceRPUConfig": "",
    "OldWebComposerInferenceRPUConfig": "",
}
"""Classes of configurations that describe inference."""
