import { createCRC64, type IHasher } from 'hash-wasm'

/** The ISO polynomial, as Go's hash/crc64 has it: what tar-split keeps of each file's content. */
const ISO = 'd800000000000000'

/** CRC64-ISO of one content after another. */
export class Crc64 {
  readonly #hasher: IHasher

  /** Compiles the checksum's WebAssembly, hence not a constructor. */
  static async load(): Promise<Crc64> {
    return new Crc64(await createCRC64(ISO))
  }

  private constructor(hasher: IHasher) {
    this.#hasher = hasher
  }

  begin(): void {
    this.#hasher.init()
  }

  update(bytes: Uint8Array): void {
    this.#hasher.update(bytes)
  }

  /** Eight bytes, big-endian. */
  digest(): Buffer {
    return Buffer.from(this.#hasher.digest('binary'))
  }
}
