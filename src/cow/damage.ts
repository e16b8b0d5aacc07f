import type { Address } from './block.js'

/**
 * A block does not hold what was written to it. Shaped like a system `EIO`, so that it passes through a `LayerFs` as an
 * input/output error.
 */
export class DamagedBlock extends Error {
  override readonly name = 'DamagedBlock'
  readonly code = 'EIO'
  readonly errno = -5
  readonly syscall = 'read'
  readonly device: string
  readonly block: Address
  readonly what: string

  constructor(device: string, block: Address, what: string) {
    super(`EIO: block ${block} of ${device} is damaged: ${what}`)
    this.device = device
    this.block = block
    this.what = what
  }
}
