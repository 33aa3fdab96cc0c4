"""The fields of CrossSim's parameters, as of version 3.2.

Each has its default there and the key of a profile that it sets, or the consequence of having none.
"""

from __future__ import annotations

from cimsim.exchange.source import NO_EFFECT, Field

LIBRARY = "CrossSim"

_COMPLEX = "complex numbers have no counterpart"
_PARTITION = "a layer is distributed over tiles evenly or tile by tile, without preferred divisors"
_WEIGHTS = "the largest weight that is stored follows from the weights of a layer, without clipping"
_VMM = "the profile describes products with the matrix (mvm); those with its transpose are ideal"
_UNUSED = "has no effect with the other settings"

CHOICES: dict[str, tuple[str, ...]] = {
    "core.style": ("BALANCED", "BITSLICED", "OFFSET"),
    "core.balanced.style": ("ONE_SIDED", "TWO_SIDED"),
    "core.bit_sliced.style": ("BALANCED", "", "OFFSET"),
    "core.offset.style": ("DIGITAL_OFFSET", "UNIT_COLUMN_SUBTRACTION"),
    "core.mapping.weights.row_partition_strategy": ("MAX", "EQUAL"),
    "core.mapping.weights.col_partition_strategy": ("MAX", "EQUAL"),
    "core.output_dtype": (
        "NATIVE",
        "MATRIX",
        "INPUT",
        "FLOAT32",
        "FLOAT64",
        "FLOAT16",
        "INT64",
        "INT32",
        "INT16",
        "INT8",
    ),
    "xbar.adc.mvm.adc_range_option": ("CALIBRATED", "MAX", "GRANULAR"),
    "xbar.adc.vmm.adc_range_option": ("CALIBRATED", "MAX", "GRANULAR"),
}
"""Names of enumerations, which a JSON file has as numbers from 1."""

_ADC = {
    "model": ("IdealADC", "adc.bits"),
    "bits": (0, "adc.bits"),
    "signed": (True, "adc.codes"),
    "stochastic_rounding": (False, ""),
    "adc_per_ibit": (False, "dac.bit_serial"),
    "calibrated_range": ([], "adc.range"),
    "adc_range_option": ("CALIBRATED", "adc.range"),
    "gain_db": (100, ""),
    "sigma_capacitor": (0.0, "adc.errors"),
    "sigma_comparator": (0.0, "adc.errors"),
    "symmetric_cdac": (True, ""),
    "split_cdac": (True, ""),
    "group_size": (8, "adc.columns_per_adc"),
    "sigma_C1": (0.0, "adc.errors"),
    "sigma_C2": (0.0, "adc.errors"),
    "sigma_Cpar": (0.0, ""),
}
_ADC_CONSEQUENCES = {
    "stochastic_rounding": "stochastic rounding of outputs is missing",
    "gain_db": "the finite gain of the amplifier in the ADC is missing",
    "symmetric_cdac": "the arrangement of capacitors in the ADC is missing",
    "split_cdac": "the arrangement of capacitors in the ADC is missing",
    "sigma_Cpar": "the mismatch of parasitic capacitors is missing",
}
_DAC = {
    "model": ("IdealDAC", "dac.bits"),
    "bits": (0, "dac.bits"),
    "input_bitslicing": (False, "dac.bit_serial"),
    "signed": (True, "dac.sign"),
    "slice_size": (1, "dac.bit_serial"),
}
_ERROR = {"enable": False, "model": "IdealDevice", "magnitude": 0}
_ERROR_KEYS = {
    "read_noise": "cell.read_noise",
    "programming_error": "cell.programming_noise",
    "drift_error": "cell.drift",
    "nonlinear_IV": "cell.iv",
}

FIELDS: tuple[Field, ...] = (
    # core
    Field("core.style", "BALANCED", "array.mapping"),
    Field("core.rows_max", 0, "array.rows"),
    Field("core.cols_max", 0, "array.columns"),
    Field("core.weight_bits", 0, "cell.levels"),
    Field("core.complex_matrix", False, "", _COMPLEX),
    Field("core.complex_input", False, "", _COMPLEX),
    Field("core.output_dtype", "NATIVE", NO_EFFECT),
    Field("core.balanced.style", "ONE_SIDED", "array.mapping, array.pairs"),
    Field("core.balanced.interleaved_posneg", False, "wires.pairs"),
    Field(
        "core.balanced.subtract_current_in_xbar",
        True,
        "",
        "CrossSim digitizes both polarities separately; here the ADC converts their difference",
    ),
    Field("core.bit_sliced.style", "BALANCED", "array.mapping"),
    Field("core.bit_sliced.num_slices", 2, "array.slices"),
    Field("core.offset.style", "DIGITAL_OFFSET", "array.mapping"),
    Field("core.mapping.weights.clipping", True, "", _WEIGHTS),
    Field("core.mapping.weights.min", None, "", _WEIGHTS),
    Field("core.mapping.weights.max", None, "", _WEIGHTS),
    Field("core.mapping.weights.percentile", 1.0, "", _WEIGHTS),
    Field("core.mapping.weights.row_partition_priority", [], "", _PARTITION),
    Field("core.mapping.weights.col_partition_priority", [], "", _PARTITION),
    Field("core.mapping.weights.row_partition_strategy", "EQUAL", "array.row_split"),
    Field("core.mapping.weights.col_partition_strategy", "EQUAL", NO_EFFECT),
    Field("core.mapping.inputs._match", True, NO_EFFECT),
    Field("core.mapping.inputs.mvm.clipping", False, "", "here an ideal DAC does not clip"),
    Field("core.mapping.inputs.mvm.min", -1.0, "dac.range"),
    Field("core.mapping.inputs.mvm.max", 1.0, "dac.range"),
    Field("core.mapping.inputs.mvm.percentile", None, "dac.range"),
    # simulation
    *(
        Field(f"simulation.{name}", default, NO_EFFECT)
        for name, default in {
            "convolution.is_conv_core": False,
            "convolution.x_par": 1,
            "convolution.y_par": 1,
            "convolution.Nwindows": 1,
            "analytics.profile_xbar_inputs": False,
            "analytics.profile_adc_inputs": False,
            "analytics.ntest": 0,
            "useGPU": False,
            "gpu_id": 0,
            "Niters_max_parasitics": 100,
            "Verr_th_mvm": 1e-3,
            "Verr_matmul_criterion": "max_max",
            "relaxation_gamma": 1,
            "disable_fast_balanced": False,
            "disable_fast_matmul": False,
            "disable_fast_nonlinear_IV": False,
            "hide_convergence_msg": False,
        }.items()
    ),
    # xbar.device
    Field("xbar.device.cell_bits", 0, "cell.levels"),
    Field("xbar.device.Rmin", 1000, "cell.g_max_uS"),
    Field("xbar.device.Rmax", 10000, "cell.g_min_uS"),
    Field("xbar.device.Vread", 0.1, "cell.iv.v_read_V"),
    Field("xbar.device.time", 0, "cell.programming_noise, cell.drift"),
    Field("xbar.device.infinite_on_off_ratio", False, "cell.g_min_uS"),
    Field("xbar.device.clip_conductance", False, "cell.g_floor_uS, cell.g_ceiling_uS"),
    *(
        Field(f"xbar.device.{part}.{name}", default, key)
        for part, key in _ERROR_KEYS.items()
        for name, default in _ERROR.items()
    ),
    # xbar.array
    Field(
        "xbar.array.Icol_max", 0, "", "the largest current of a column is missing; the ADC clips"
    ),
    Field("xbar.array.parasitics.enable", False, "wires"),
    Field("xbar.array.parasitics.Rp_row", 0, "wires.r_word_ohm"),
    Field("xbar.array.parasitics.Rp_col", 0, "wires.r_bit_ohm"),
    Field("xbar.array.parasitics.Rp_row_terminal", 0, "wires.r_source_ohm"),
    Field("xbar.array.parasitics.Rp_col_terminal", 0, "wires.r_sink_ohm"),
    Field("xbar.array.parasitics.current_from_input", True, "wires.cells"),
    Field(
        "xbar.array.parasitics.selected_rows",
        "top",
        "",
        "the rows of a layer smaller than a tile are those next to the readout",
    ),
    # converters
    Field("xbar.adc._match", True, NO_EFFECT),
    *(
        Field(f"xbar.adc.mvm.{name}", default, key, _ADC_CONSEQUENCES.get(name, _UNUSED))
        for name, (default, key) in _ADC.items()
    ),
    Field("xbar.dac._match", True, NO_EFFECT),
    *(Field(f"xbar.dac.mvm.{name}", default, key) for name, (default, key) in _DAC.items()),
)

VMM = ("core.mapping.inputs.vmm.", "xbar.adc.vmm.", "xbar.dac.vmm.")
"""Parts for products with the transposed matrix, reported if they differ from those for ``mvm``."""
VMM_CONSEQUENCE = _VMM
