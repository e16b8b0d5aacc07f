import { temporaryName } from '#layerstack/sys/temporary-name.js'

/** A temporary name as a process made it that has ended: the process ID is above Linux's largest one. */
export function nameOfDead(label: string): string {
  return temporaryName(label).replace(/-\d+\.(?=(?:\d+|-)\.[^-]+$)/, '-4194305.')
}
