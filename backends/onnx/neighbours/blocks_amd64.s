#include "textflag.h"

// One step of 32 rows: Y4 holds the row's feature in all lanes, DX points at the
// training rows' feature, Y0 to Y3 are the sums.

// LEAST writes Y0 to Y3 and their least number. No sum is NaN: rows and
// training rows are finite.
#define LEAST \
	VMOVUPS Y0, (DI); \
	VMOVUPS Y1, 32(DI); \
	VMOVUPS Y2, 64(DI); \
	VMOVUPS Y3, 96(DI); \
	VMINPS Y1, Y0, Y5; \
	VMINPS Y3, Y2, Y6; \
	VMINPS Y6, Y5, Y5; \
	VEXTRACTF128 $1, Y5, X6; \
	VMINPS X6, X5, X5; \
	VPERMILPS $0x4E, X5, X6; \
	VMINPS X6, X5, X5; \
	VPERMILPS $0xB1, X5, X6; \
	VMINPS X6, X5, X5; \
	VMOVSS X5, (R11)

// func euclideanBlocks(squares, least, row, train *float32, d, n int)
TEXT ·euclideanBlocks(SB), NOSPLIT, $0-48
	MOVQ squares+0(FP), DI
	MOVQ least+8(FP), R11
	MOVQ row+16(FP), SI
	MOVQ train+24(FP), DX
	MOVQ d+32(FP), CX
	MOVQ n+40(FP), R8

block:
	TESTQ R8, R8
	JZ    done
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	MOVQ  SI, R9
	MOVQ  CX, R10

feature:
	VBROADCASTSS (R9), Y4
	VSUBPS (DX), Y4, Y5
	VSUBPS 32(DX), Y4, Y6
	VSUBPS 64(DX), Y4, Y7
	VSUBPS 96(DX), Y4, Y8
	VMULPS Y5, Y5, Y5
	VMULPS Y6, Y6, Y6
	VMULPS Y7, Y7, Y7
	VMULPS Y8, Y8, Y8
	VADDPS Y5, Y0, Y0
	VADDPS Y6, Y1, Y1
	VADDPS Y7, Y2, Y2
	VADDPS Y8, Y3, Y3
	ADDQ $4, R9
	ADDQ $128, DX
	DECQ R10
	JNZ  feature

	LEAST
	ADDQ $128, DI
	ADDQ $4, R11
	DECQ R8
	JMP  block

done:
	VZEROUPPER
	RET

// func manhattanBlocks(squares, least, row, train *float32, d, n int)
TEXT ·manhattanBlocks(SB), NOSPLIT, $0-48
	MOVQ squares+0(FP), DI
	MOVQ least+8(FP), R11
	MOVQ row+16(FP), SI
	MOVQ train+24(FP), DX
	MOVQ d+32(FP), CX
	MOVQ n+40(FP), R8
	VPCMPEQD Y9, Y9, Y9
	VPSRLD $1, Y9, Y9 // all bits but the sign

block:
	TESTQ R8, R8
	JZ    done
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	MOVQ  SI, R9
	MOVQ  CX, R10

feature:
	VBROADCASTSS (R9), Y4
	VSUBPS (DX), Y4, Y5
	VSUBPS 32(DX), Y4, Y6
	VSUBPS 64(DX), Y4, Y7
	VSUBPS 96(DX), Y4, Y8
	VANDPS Y9, Y5, Y5
	VANDPS Y9, Y6, Y6
	VANDPS Y9, Y7, Y7
	VANDPS Y9, Y8, Y8
	VADDPS Y5, Y0, Y0
	VADDPS Y6, Y1, Y1
	VADDPS Y7, Y2, Y2
	VADDPS Y8, Y3, Y3
	ADDQ $4, R9
	ADDQ $128, DX
	DECQ R10
	JNZ  feature

	LEAST
	ADDQ $128, DI
	ADDQ $4, R11
	DECQ R8
	JMP  block

done:
	VZEROUPPER
	RET
