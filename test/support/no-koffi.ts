process.env['LAYERSTACK_NO_KOFFI'] = '1'

/** Import this first. Every later probe finds no system calls but Node's own. */
export const withoutKoffi = 'without koffi'
