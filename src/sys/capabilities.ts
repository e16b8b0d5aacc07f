import { readFileSync } from 'node:fs'

/** Bits from linux/capability.h that storage drivers need. */
const CAPABILITIES = {
  CAP_CHOWN: 0,
  CAP_DAC_OVERRIDE: 1,
  CAP_FOWNER: 3,
  CAP_SYS_ADMIN: 21,
  CAP_MKNOD: 27,
  CAP_SETFCAP: 31,
} as const
export type Capability = keyof typeof CAPABILITIES

/** Whether the capability is in this process's effective set now. `false` on systems without capabilities. */
export function hasCapability(capability: Capability): boolean {
  return ((effective() >> BigInt(CAPABILITIES[capability])) & 1n) === 1n
}

function effective(): bigint {
  try {
    const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]
    return BigInt(`0x${hex ?? '0'}`)
  } catch {
    return 0n
  }
}
