const ROWS = @rows@; // that the module's memory holds at once

/** A loaded release. */
class Model {
  release = @release@;
  inputs = @inputs@;
  classes = @classes@;
  outputs = @outputs@;
  #categories = new Map(@categories@);
  #module;
  #memory;

  constructor(module) {
    this.#module = module;
    const failed = module.self_test();
    if (failed) throw new Error(`the self-test of the release fails at row ${failed}`);
    const { buffer } = module.memory; // which never grows: the module allocates nothing
    this.#memory = {
      rows: new Float64Array(buffer, module.rows(), ROWS * this.inputs.length),
      scores: new Float64Array(buffer, module.scores(), ROWS * this.outputs),
      decisions: new Int32Array(buffer, module.decisions(), ROWS),
    };
  }

  /**
   * Return the number by which a row holds a category: NaN for one that counts as missing, undefined for one that the
   * release refuses.
   */
  category(input, text) {
    if (!this.#categories.has(input)) throw new TypeError(`'${input}' is not a category`);
    const [known, unseen] = this.#categories.get(input);
    const at = known.indexOf(text);
    return at >= 0 ? at : { missing: NaN, other: known.length }[unseen];
  }

  /**
   * Predict rows: a Float64Array of the inputs of each row in turn, in the order of `inputs`. A missing value is NaN.
   * Return their calibrated scores (Float64Array, `outputs` of each row) and decisions (Int32Array): the index of the
   * class, or 0 for a number. A row that the release does not answer has the decision -1 and scores of NaN.
   */
  predict(rows) {
    const width = this.inputs.length, outputs = this.outputs, count = rows.length / width;
    if (!(rows instanceof Float64Array) || !Number.isInteger(count))
      throw new TypeError(`rows are a Float64Array with ${width} numbers for each row`);
    const scores = new Float64Array(count * outputs), decisions = new Int32Array(count), memory = this.#memory;
    for (let start = 0; start < count; start += ROWS) {
      const size = Math.min(ROWS, count - start);
      memory.rows.set(size === count ? rows : rows.subarray(start * width, (start + size) * width));
      this.#module.predict(size);
      scores.set(memory.scores.subarray(0, size * outputs), start * outputs);
      decisions.set(memory.decisions.subarray(0, size), start);
    }
    return { scores, decisions };
  }
}

/**
 * Load the release and run its self-test; throw an Error if that fails. `source` is the address of the .wasm file, next to
 * this module by default, or its bytes.
 */
export async function load(source = new URL(@file@, import.meta.url)) {
  let content = source;
  if (typeof source === "string" || source instanceof URL) {
    const response = await fetch(source);
    if (!response.ok) throw new Error(`${source} cannot be loaded: ${response.status}`);
    content = await response.arrayBuffer();
  }
  const { instance } = await WebAssembly.instantiate(content);
  return new Model(instance.exports);
}
