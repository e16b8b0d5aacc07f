import type { Address } from './block.js'

/**
 * A block is not what was written there. In the shape of a system's EIO, so that it passes through a `LayerFs` as an
 * input/output error does.
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
